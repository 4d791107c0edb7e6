"""A few mutants of each file of language models, models and lists; tests/mutate.py makes thousands."""

from pathlib import Path

import pytest

from tests.mutate import faults


@pytest.mark.parametrize("kind", ["words", "ngrams", "models"])
def test_mutants_are_read_or_refused(kind: str, tmp_path: Path):
    assert list(faults(kind, 40, 1, tmp_path)) == []
