"""Handwriting: pictures of lines and pen strokes to text."""
