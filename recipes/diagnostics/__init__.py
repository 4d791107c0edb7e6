"""What LSTM is known for: memory, timing, counting: `python -m carousel.recipes.diagnostics`."""
