"""Speech recognition: from a recording to text with times."""
