"""Whole pages: their text lines, in reading order."""
