"""UNIPEN: phrases and lines as pen strokes.

CORPUS holds what it does for unipen_words, with phrases and lines for words and the same split of writers.
"""

from carousel.recipes.ink import prepare as prepare
