"""Points far off the writing are left out, and dots, commas and accents are not."""

import io
import json

import numpy as np
import pytest

from carousel.common.errors import InputError
from carousel.hwr.ink import features as ink_features
from carousel.hwr.ink.features import extract
from carousel.hwr.ink.strays import without_strays
from tests.conftest import corpus


def word(count: int = 4, left: float = 2000.0, top: float = 3000.0) -> list[np.ndarray]:
    at = np.linspace(0, 2 * np.pi, 16)
    return [
        np.stack([left + 90 * i + 30 * np.cos(at), top + 50 * np.sin(at + i)], axis=1) for i in range(count)
    ]


def points(strokes) -> int:
    return sum(map(len, strokes))


def put(place: str, stray: tuple[float, float]) -> list[np.ndarray]:
    """The word with a stray point before, in, after or apart from its strokes."""
    strokes, point = word(), np.array([stray])
    if place == "apart":
        return [*strokes[:2], point, *strokes[2:]]
    if place == "each":
        return [np.concatenate([point, stroke]) for stroke in strokes]
    at = {"first": 0, "middle": 8, "last": 16}[place]
    return [strokes[0], np.insert(strokes[1], at, point, axis=0), *strokes[2:]]


@pytest.mark.parametrize("place", ["apart", "each", "first", "middle", "last"])
@pytest.mark.parametrize("stray", [(0.0, 0.0), (2100.0, -32768.0), (65535.0, 3000.0), (2100.0, 4200.0)])
def test_a_stray_point_changes_nothing(place, stray):
    frames, places = extract(put(place, stray), {})
    expected, expected_places = extract(word(), {})
    np.testing.assert_array_equal(frames, expected)
    np.testing.assert_array_equal(places, expected_places)


def test_a_palm_that_taps_twice_far_off_changes_nothing():
    tap = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]])
    np.testing.assert_array_equal(extract([tap, *word(6), tap + 5], {})[0], extract(word(6), {})[0])


def test_dots_accents_stops_bars_and_single_marks_stay():
    dot, stop, accent = [[2090.0, 2850.0]], [[2450.0, 3060.0]], [[2180.0, 2800.0], [2200.0, 2780.0]]
    bar = [[1900.0, 3100.0], [2700.0, 3100.0]]
    for extra in (dot, stop, accent, bar, [[2800.0, 3060.0]]):
        strokes = [*word(), np.array(extra)]
        assert without_strays(strokes) is strokes or sum(map(len, without_strays(strokes))) == 64 + len(extra)
    for few in (
        [np.zeros((1, 2))],
        [np.zeros((1, 2)), np.full((1, 2), 1e6)],
        [np.array([[0.0, 0], [900, 0]])],
    ):
        assert without_strays(few) is few
    ellipsis = [np.array([[400.0 * i, 0.0]]) for i in range(9)]
    assert points(without_strays(ellipsis)) == 9


def test_words_of_a_corpus_are_left_as_they_are():
    from carousel.common.data.manifest import read_manifest

    for name in ("unipen-words", "unipen-lines", "pendigits"):
        samples = list(read_manifest(corpus(name) / "valid.jsonl.gz"))[::4]
        changed = [
            s.text for s in samples if sum(map(len, without_strays(s.strokes))) < sum(map(len, s.strokes))
        ]
        assert changed == []


def test_ink_without_an_end_is_named(monkeypatch):
    strokes = [np.array([[i, 2.0], [i + 1, 4.0]]) for i in range(10_000)]
    with pytest.raises(InputError, match=r"steps long.*cut it up"):
        extract(strokes, {})
    monkeypatch.setattr(ink_features, "MOST_FRAMES", 10)
    with pytest.raises(InputError, match=r"steps long.*cut it up"):
        extract(word(), {})


def test_strays_of_every_format_are_left_out():
    from carousel.hwr.ink.file import read_ink

    rows = [[round(float(value), 2) for value in stroke.ravel()] for stroke in put("first", (0.0, 0.0))]
    file = io.BytesIO(json.dumps({"strokes": rows}).encode())
    clean = [np.round(stroke, 2) for stroke in word()]
    np.testing.assert_array_equal(extract(read_ink(file), {})[0], extract(clean, {})[0])
