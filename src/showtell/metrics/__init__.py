"""Caption scores."""
