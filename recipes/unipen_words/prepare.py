"""UNIPEN: words as pen strokes.

CORPUS holds train.jsonl.gz, valid.jsonl.gz and test.jsonl.gz, words cut out of the UNIPEN files with disjoint
writers, one JSON object a line: strokes (y downwards), text, writer, quality (the corpus' GOOD, OK or ?), and
seen_label (whether the text is in train). These keys are kept.
"""

from carousel.recipes.ink import prepare as prepare
