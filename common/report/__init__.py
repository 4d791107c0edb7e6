"""What a model does well and badly, as a page for people: `evaluate --report`, and of each training."""
