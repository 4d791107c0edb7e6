"""Parts of the compiled beam search, each against what it stands for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.common.decoding.compiled.frame_symbols import look
from carousel.common.decoding.compiled.prefix_tree import NONE, child_of, forget, new_tree


@given(st.lists(st.floats(-699, 1), min_size=1, max_size=70), st.floats(-10, 0))
def test_probabilities_of_a_frame_are_those_of_numpy(log_probs, threshold):
    row, p = np.array(log_probs), np.empty(len(log_probs))
    assert look(row, p, threshold) == (row >= threshold).sum()
    np.testing.assert_allclose(p, np.exp(row), rtol=1e-15)


def test_what_is_nothing_has_no_probability():
    p = np.empty(4)
    assert look(np.array([0.0, -np.inf, -701.0, -1e300]), p, -5.0) == 1
    assert p.tolist() == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("row", [[-np.inf] * 3, [0.0, np.nan], [0.0, np.inf], [np.nan]])
def test_a_frame_without_a_finite_highest_value_is_told(row):
    assert look(np.array(row), np.empty(len(row)), -5.0) == NONE


@given(st.sets(st.tuples(st.integers(0, 30), st.integers(1, 5)), max_size=40), st.sampled_from([64, 1024]))
def test_forgetting_the_texts_of_a_tree_empties_its_table(texts, size):
    tree = new_tree()
    nodes, table = np.zeros(41, tree.nodes.dtype), np.zeros(size, np.int32)
    for parent, symbol in sorted(texts):
        child_of(nodes, table, tree.size, parent, symbol)
    forget(nodes, table, tree.size[0])
    assert not table.any()
