"""UNIPEN phrases and lines (pen strokes) to manifests.

CORPUS holds train.jsonl.gz, valid.jsonl.gz and test.jsonl.gz, lines cut out of the UNIPEN files with the
writers split as for unipen_words, one JSON object a line: strokes (y downwards), text, writer, quality (the
corpus' GOOD, OK or ?), and seen_label (whether the text is in train). These keys are kept.
"""

import sys
from collections.abc import Sequence

from carousel.recipes import command
from carousel.recipes.ink import prepare_manifests


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m recipes.unipen_lines.prepare`."""
    return command.run(
        prepare_manifests,
        command.parser("carousel.recipes.unipen_lines.prepare", __doc__, "data/unipen_lines").parse_args(
            argv
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
