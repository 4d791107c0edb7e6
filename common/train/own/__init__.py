"""A training without a recipe: what the data is, how it is split, and the settings that follow from it."""
