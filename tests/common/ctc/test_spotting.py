import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.ctc.spotting import curve, spot
from carousel.common.errors import InputError
from tests.common.ctc.test_loss import LATTICES, lattice
from tests.oracles import ctc as oracle

SPACE = 1


def spans(log_probs: np.ndarray, word: tuple[int, ...]) -> dict[tuple[int, int], float]:
    """ln of the best path that writes just the word in frames [start, end), against the likeliest symbols,
    for all spans in whose first and last frame it is at a letter."""
    free = log_probs.max(axis=1)
    found = {}
    for start, end in itertools.combinations(range(len(log_probs) + 1), 2):
        scores = [
            score - free[start:end].sum()
            for path, score in oracle.paths(log_probs[start:end])
            if path[0] and path[-1] and oracle.collapse(path) == word
        ]
        if scores:
            found[start, end] = max(scores)
    return found


WORDS = st.lists(st.integers(1, 2), min_size=1, max_size=3).map(tuple)


@settings(deadline=None, max_examples=60)  # the first example compiles
@given(LATTICES.filter(lambda rows: rows.shape[1] > 2), WORDS)
def test_the_best_detection_is_the_best_of_all_spans(log_probs, word):
    expected, found = spans(log_probs, word), spot(log_probs, word)
    if not expected:
        assert found == []
        return
    best = max(found, key=lambda d: d.score)
    assert best.score == pytest.approx(math.exp(max(expected.values()) / len(word)))
    for detection in found:  # each is a span with just its score
        assert expected[detection.start, detection.end] / len(word) == pytest.approx(
            math.log(detection.score)
        )
    for one, two in itertools.pairwise(found):
        assert one.end <= two.start
    # what is left out meets one that is kept and at least as good, or could start or end better
    for (start, end), score in expected.items():
        assert any(
            d.start < end and start < d.end and d.score >= math.exp(score / len(word)) - 1e-9 for d in found
        ) or any(
            other_end == end and other > score - 1e-12 and other_start != start
            for (other_start, other_end), other in expected.items()
        )


@settings(deadline=None, max_examples=40)
@given(
    LATTICES.filter(lambda rows: rows.shape[1] > 3 and len(rows) < 6), st.sampled_from([(2,), (2, 3), (3, 3)])
)
def test_with_a_space_the_word_stands_between_spaces_or_ends(log_probs, word):
    ends = np.where(np.isin(np.arange(log_probs.shape[1]), [0, SPACE]), 0.0, -50.0)[None]
    whole = spans(np.concatenate([ends, log_probs, ends]), (SPACE, *word, SPACE))
    found = spot(log_probs, word, (SPACE,))
    best = max((math.exp(score / len(word)) for score in whole.values()), default=0.0)
    if best > 1e-6:
        assert max(d.score for d in found) == pytest.approx(best, abs=1e-9)


def sharp(text: str, symbols: str = "- ehnop", sure: float = 0.99) -> np.ndarray:
    """(frames, symbols): a frame for each character, - the blank."""
    rows = np.full((len(text), len(symbols)), (1 - sure) / (len(symbols) - 1))
    rows[np.arange(len(text)), [symbols.index(c) for c in text]] = sure
    return np.log(rows)


ONE = (5, 4, 2)


def test_one_in_phone_is_found_only_inside():
    rows = sharp("ph-one")
    (inside,) = spot(rows, ONE, threshold=0.5)
    assert (inside.start, inside.end, inside.begin, inside.score) == (3, 6, 5, 1.0)
    assert spot(rows, ONE, (SPACE,), threshold=0.5) == []
    (alone,) = spot(sharp("-ph- one"), ONE, (SPACE,), threshold=0.5)
    assert (alone.start, alone.end) == (5, 8)


def test_each_occurrence_is_found_once_and_the_threshold_counts():
    rows = sharp("one-o-nne  -one ")
    assert [(d.start, d.end) for d in spot(rows, ONE, threshold=0.9)] == [(0, 3), (4, 9), (12, 15)]
    unsure = rows + 0
    unsure[1] = np.log(1 / 7)
    unsure[1, 3] = np.log(0.5)  # an h is likelier
    scores = [d.score for d in spot(unsure, ONE, threshold=0.1)]
    assert scores[0] == pytest.approx((1 / 7 / 0.5) ** (1 / 3)) and scores[1:] == [1.0, 1.0]
    assert len(spot(unsure, ONE, threshold=0.9)) == 2


def test_silence_and_nan():
    assert spot(np.zeros((0, 7)), ONE) == [] and spot(np.zeros((0, 7)), ONE, (SPACE,)) == []
    with pytest.raises(InputError, match="NaN"):
        spot(np.full((3, 7), np.nan), ONE)


def test_padding_frames_of_blank_change_nothing():
    rows = lattice(5, 30, 7)
    pad = sharp("-" * 9, sure=1 - 1e-12)
    plain, padded = (
        spot(rows, ONE, threshold=0.01),
        spot(np.concatenate([pad, rows, pad]), ONE, threshold=0.01),
    )
    assert [(d.start + 9, d.end + 9, d.begin + 9) for d in plain] == [
        (d.start, d.end, d.begin) for d in padded
    ]


def test_the_curve_counts_hits_and_alarms_by_hand():
    found = curve([0.9, 0.5, 0.7, 0.5, 0.2], [True, True, False, False, True], references=4, amount=0.5)
    assert found.thresholds == pytest.approx([0.8, 0.6, 0.35, 0.1])
    assert found.hits.tolist() == [1, 1, 2, 3] and found.alarms.tolist() == [0, 1, 2, 2]
    assert found.rate.tolist() == [0.25, 0.25, 0.5, 0.75] and found.alarm_rate.tolist() == [0, 2, 4, 4]
    assert found.f1 == pytest.approx([2 / 5, 2 / 6, 4 / 8, 6 / 9]) and found.best() == 3
    # 0 … 2: 0.25; 2 … 4: from 0.25 to 0.5; 4 … 10: 0.75
    assert found.figure_of_merit() == pytest.approx((2 * 0.25 + 2 * 0.375 + 6 * 0.75) / 10, abs=1e-3)
    assert not len(curve([], [], 3, 1.0).thresholds)


@settings(deadline=None, max_examples=30)
@given(LATTICES.filter(lambda rows: rows.shape[1] > 3 and len(rows) < 6), st.sampled_from([(3,), (3, 3)]))
def test_of_several_bounds_any_may_stand_at_either_side(log_probs, word):
    """The best of all pairs of bounds and ends, each by itself."""
    ends = np.where(np.arange(log_probs.shape[1]) < 3, 0.0, -50.0)[None]
    whole = np.concatenate([ends, log_probs, ends])
    expected = 0.0
    for before, after in itertools.product((1, 2), repeat=2):
        scores = spans(whole, (before, *word, after)).values()
        expected = max([expected, *(math.exp(score / len(word)) for score in scores)])
    found = spot(log_probs, word, (1, 2))
    if expected > 1e-6:
        assert max(d.score for d in found) == pytest.approx(expected, abs=1e-9)


def test_average_precision_by_hand():
    found = curve([0.9, 0.8, 0.7, 0.5], [True, False, True, False], references=4, amount=1.0)
    assert found.average_precision() == pytest.approx((1 + 2 / 3) / 4)
    perfect = curve([0.9, 0.8], [True, True], references=2, amount=1.0)
    assert perfect.average_precision() == 1.0
