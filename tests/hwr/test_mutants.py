"""Damaged files of writing are read, or refused in a sentence: tests/mutate.py with a few mutants of each."""

import pytest

from tests import mutate


@pytest.mark.parametrize("kind", ["picture", "ink"])
def test_mutants_are_read_or_refused(kind, tmp_path):
    assert list(mutate.faults(kind, 25, 1, tmp_path)) == []
