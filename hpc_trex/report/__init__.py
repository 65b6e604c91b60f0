"""What people look at: the HTML report and the terminal's tables."""
