"""Literature, data sets and models that others have published, and a local library: looked up, never obeyed."""
