"""A few mutants of every kind of file that is read; tests/mutate.py makes as many as one likes."""

import pytest

from tests.mutate import READERS, faults


@pytest.mark.parametrize("kind", READERS)
def test_no_mutant_makes_a_reader_fail_as_it_should_not(kind, tmp_path):
    assert [wrong for _, wrong in faults(kind, 8, 1, tmp_path)] == []
