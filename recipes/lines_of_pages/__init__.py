"""The line finder measured on pages of which the lines are known."""
