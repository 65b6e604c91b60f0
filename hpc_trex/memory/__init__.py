"""What a training needs of a GPU's memory, said before the queue: plain arithmetic, no torch (docs/training.md)."""
