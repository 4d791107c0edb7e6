"""Handwriting: line images, pages and pen strokes to text."""
