"""Variations of ink: as many strokes, in order, and nothing where the settings say nothing."""

import numpy as np
import pytest

from carousel.common.errors import InputError
from carousel.hwr.ink.augment import DEFAULTS, augment_ink

STROKES = [
    np.stack([np.linspace(0, 200, 80), 30 * np.sin(np.linspace(0, 20, 80))], axis=1),
    np.array([[40.0, -50.0]]),
    np.array([[150.0, -20.0], [170.0, -20.0]]),
]
STILL = dict.fromkeys(DEFAULTS, 0.0) | {"bend_length": 1.0, "chance": 1.0}


def augment(seed: int = 0, strokes=STROKES, **settings):
    return augment_ink(strokes, settings, np.random.default_rng(seed))


def test_settings_of_zero_change_nothing():
    for found, stroke in zip(augment(**STILL), STROKES, strict=True):
        np.testing.assert_allclose(found, stroke, atol=1e-9)


def test_a_chance_of_zero_changes_nothing():
    for found, stroke in zip(augment(chance=0.0), STROKES, strict=True):
        np.testing.assert_array_equal(found, stroke)


def test_the_seed_decides_and_the_input_stays():
    before = [stroke.copy() for stroke in STROKES]
    first, again, other = augment(1, chance=1.0), augment(1, chance=1.0), augment(2, chance=1.0)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(a.shape != b.shape or not np.allclose(a, b) for a, b in zip(first, other, strict=True))
    for a, b in zip(before, STROKES, strict=True):
        np.testing.assert_array_equal(a, b)


def test_rotation_and_slant_are_linear_maps_about_the_middle():
    strokes = [np.random.default_rng(5).normal(size=(50, 2)) * 20]
    found = augment(3, strokes, **STILL | {"rotation": 0.3, "slant": 0.5, "stretch": 0.4})[0]
    middle = strokes[0].mean(axis=0)
    np.testing.assert_allclose(found.mean(axis=0), middle, atol=1e-9)
    matrix, rest, *_ = np.linalg.lstsq(strokes[0] - middle, found - middle, rcond=None)
    assert rest.max() < 1e-9
    assert np.linalg.det(matrix) == pytest.approx(1)  # area is kept: size is for the features to estimate
    assert not np.allclose(matrix, np.eye(2), atol=0.05)


def test_dropping_keeps_order_and_ends():
    for seed in range(20):
        for found, stroke in zip(augment(seed, **STILL | {"drop": 0.9}), STROKES, strict=True):
            rows = [np.flatnonzero(np.isclose(stroke, point, atol=1e-9).all(axis=1))[0] for point in found]
            assert rows == sorted(rows)
            assert {rows[0], rows[-1]} == {0, len(stroke) - 1}


def test_the_bend_is_smooth_and_of_the_given_size():
    grid = np.stack(np.meshgrid(np.linspace(0, 700, 200), np.linspace(0, 100, 30)), axis=-1).reshape(-1, 2)
    height = 3.5 * np.std(grid[:, 1])
    moves = [augment(seed, [grid], **STILL | {"bend": 0.05})[0] - grid for seed in range(40)]
    assert np.std(np.concatenate(moves)) == pytest.approx(0.05 * height, rel=0.3)
    assert (
        np.abs(np.diff(moves[0].reshape(30, 200, 2), axis=1)).max() < 3.5
    )  # less than the grid: nothing folds


def test_empty_ink_and_unknown_settings():
    assert augment(strokes=[np.zeros((0, 2))]) == []
    with pytest.raises(InputError, match="rotated"):
        augment(rotated=1.0)


@pytest.mark.parametrize("value", ["abc", None, True, [0.1]])
def test_a_setting_that_is_no_number_is_named(value):
    with pytest.raises(InputError, match=r"augment.rotation must be a number, not"):
        augment(rotation=value)
