"""Changes to line pictures: each does what its settings say, the same generator gives the same picture."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from carousel.common.errors import InputError
from carousel.common.settings.field import defaults
from carousel.common.settings.training import GROUPS
from carousel.hwr.image.augment import augment_image
from carousel.hwr.image.columns import find_slant, find_slope, ink_of, normalise_line


def conf() -> dict[str, Any]:
    """The settings that ship."""
    return defaults(GROUPS["augment"]["image"])


def only(name: str, **changed: Any) -> dict[str, Any]:
    """Settings with one block, always drawn."""
    return {name: conf()[name] | {"probability": 1.0} | changed}


def strokes(rows: int = 64, columns: int = 500) -> np.ndarray:
    """Upright strokes of different heights, black on white."""
    grey = np.full((rows, columns), 255, dtype=np.uint8)
    for number, x in enumerate(range(30, columns - 30, 14)):
        grey[rows // (5 if number % 4 == 0 else 3) : rows * 3 // 4, x : x + 3] = 0
    return grey


def draw(name: str, seed: int = 0, grey: np.ndarray | None = None, **changed: Any) -> np.ndarray:
    grey = strokes() if grey is None else grey
    return augment_image(grey, only(name, **changed), np.random.default_rng(seed))


def test_every_block_that_ships_is_known_and_within_bounds() -> None:
    shipped = conf()
    for name, block in shipped.items():
        assert draw(name).dtype == np.uint8 and "probability" in block
        assert 0 <= block["probability"] <= 1
        if "range" in block:
            assert block["range"][0] < block["range"][1]


@pytest.mark.parametrize("name", sorted(defaults(GROUPS["augment"]["image"])))
def test_each_block_alone_changes_the_picture_and_not_its_input(name: str) -> None:
    grey = strokes()
    grey[:, 250:253] = 0  # from edge to edge, for what happens there
    before = grey.copy()
    made = [draw(name, seed, grey) for seed in range(5)]
    assert np.array_equal(grey, before)
    assert all(picture.dtype == np.uint8 for picture in made)
    assert any(picture.shape != grey.shape or (picture != grey).any() for picture in made)


@pytest.mark.parametrize("name", sorted(defaults(GROUPS["augment"]["image"])))
def test_probability_0_changes_nothing(name: str) -> None:
    assert np.array_equal(draw(name, probability=0.0), strokes())


def test_no_settings_change_nothing() -> None:
    assert np.array_equal(augment_image(strokes(), {}, np.random.default_rng(0)), strokes())


def test_same_generator_same_picture() -> None:
    first, second, other = (
        augment_image(strokes(), conf(), np.random.default_rng([1, 2, last])) for last in (3, 3, 4)
    )
    assert np.array_equal(first, second)
    assert first.shape != other.shape or (first != other).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"blurr": {"probability": 1}},
        {"blur": {"probability": 1}},
        {"blur": {"probability": 1, "range": [0, 1], "extra": 1}},
        {"blur": 0.5},
    ],
)
def test_settings_that_would_do_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="blur"):
        augment_image(strokes(), wrong, np.random.default_rng(0))


def test_blocks_for_rendered_ink_are_left_to_others() -> None:
    augment_image(strokes(), {"ink": {"slant": 0.2}, "render": {}}, np.random.default_rng(0))


@pytest.mark.parametrize("degrees", [-1.5, 1.5])
def test_rotation_turns_by_what_is_drawn(degrees: float) -> None:
    turned = draw("rotation", range=[degrees, degrees])
    assert math.degrees(math.atan(find_slope(ink_of(turned)))) == pytest.approx(degrees, abs=0.35)


@pytest.mark.parametrize("degrees", [-20, 20])
def test_slant_leans_by_what_is_drawn(degrees: float) -> None:
    leaning = draw("slant", range=[degrees, degrees])
    assert find_slant(ink_of(leaning)) == pytest.approx(math.tan(math.radians(degrees)), abs=0.05)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_stretch_keeps_the_height(factor: float) -> None:
    wider = draw("stretch", range=[factor, factor])
    inked = np.flatnonzero(wider.min(axis=0) < 128)
    assert inked[-1] - inked[0] == pytest.approx(factor * (500 - 60), rel=0.03)
    assert wider.shape[0] == 64


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_geometry_loses_no_ink(seed: int) -> None:
    """Rotation, slant and bends make room: as much ink as before, give or take what bends stretch."""
    shape = {name: conf()[name] | {"probability": 1.0} for name in ("rotation", "slant", "elastic")}
    made = augment_image(strokes(), shape, np.random.default_rng(seed))
    assert (255.0 - made).sum() == pytest.approx((255.0 - strokes()).sum(), rel=0.1)
    border = np.concatenate([made[0], made[-1], made[:, 0], made[:, -1]])
    assert border.min() > 200


def test_elastic_moves_by_no_more_than_its_range() -> None:
    dot = np.full((60, 240), 255, dtype=np.uint8)
    dot[28:32, 118:122] = 0
    for seed in range(20):
        made = draw("elastic", seed, dot, range=[0.05, 0.05])
        y, x = (axis.mean() for axis in np.nonzero(made < 128))
        away_y, away_x = y - (made.shape[0] - 1) / 2, x - (made.shape[1] - 1) / 2
        assert max(abs(away_y), abs(away_x)) <= 0.05 * 60 + 1


@pytest.mark.parametrize("light_on_dark", [False, True])
@pytest.mark.parametrize(("share", "sign"), [(-0.5, -1), (0.7, 1)])
def test_thickness(share: float, sign: int, light_on_dark: bool) -> None:
    grey = 255 - strokes() if light_on_dark else strokes()
    made = draw("thickness", grey=grey, range=[share, share])
    ink = (lambda a: float(a.sum())) if light_on_dark else (lambda a: float((255.0 - a).sum()))
    assert sign * (ink(made) - ink(grey)) > 0.1 * ink(grey)


def test_contrast_squeezes_the_range() -> None:
    made = draw("contrast", range=[0.4, 0.4])
    assert int(made.max()) - int(made.min()) == pytest.approx(102, abs=2)


def test_noise_has_the_deviation_that_is_drawn() -> None:
    flat = np.full((64, 500), 128, dtype=np.uint8)
    assert draw("noise", grey=flat, range=[0.03, 0.03]).std() == pytest.approx(0.03 * 255, rel=0.05)


def test_gradient_is_no_deeper_than_its_range() -> None:
    flat = np.full((64, 500), 200, dtype=np.uint8)
    made = draw("gradient", grey=flat, range=[0.4, 0.4])
    assert made.min() >= 200 * 0.6 * 0.9 - 2  # bicubic undershoots a little
    assert made.std() > 3


def test_masks_are_paper_and_narrow() -> None:
    made = draw("masks", seed=1)
    changed = (made != strokes()).any(axis=0)
    assert (made[:, changed] == 255).any(axis=0).all()
    assert changed.sum() <= 3 * (0.15 * 64 + 1)


def test_neighbours_reach_in_no_deeper_than_drawn() -> None:
    grey = np.full((64, 400), 255, dtype=np.uint8)
    grey[20:44, 100:110] = 0
    made = [draw("neighbours", seed, grey, range=[0.15, 0.15]) for seed in range(8)]
    rows = [np.flatnonzero((picture != grey).any(axis=1)) for picture in made]
    assert any(len(row) for row in rows)
    assert all(len(row) <= 10 and (row.size == 0 or row.max() < 10 or row.min() >= 54) for row in rows)


def test_clip_cuts_no_deeper_than_drawn() -> None:
    grey = strokes()
    grey[:5, 200:210] = grey[-5:, 200:210] = 0
    made = draw("clip", grey=grey, range=[0.08, 0.08])
    assert (made[:5] == 255).all() and (made[-5:] == 255).all() and (made[5:-5] == grey[5:-5]).all()


def test_what_shines_through_is_mirrored_writing_paler_than_the_ink() -> None:
    grey = np.full((64, 400), 255, dtype=np.uint8)
    grey[20:44, 100:140] = 0
    made = draw("through", grey=grey, range=[0.3, 0.3])
    assert (made[20:44, 100:140] == 0).all()
    pale = np.delete(made, np.s_[95:145], axis=1)
    assert 255 * 0.7 - 1 <= pale.min() < 200
    assert (made <= grey).all()


def test_jpeg_loses_more_the_lower_its_quality() -> None:
    grey = strokes()
    lost = [np.abs(draw("jpeg", range=[q, q]).astype(int) - grey).mean() for q in (20, 80)]
    assert lost[0] > lost[1] > 0


def test_a_normalised_line_keeps_its_height_and_kind() -> None:
    line = normalise_line(strokes(), {"height": 48})
    for seed in range(10):
        made = augment_image(line, conf(), np.random.default_rng(seed))
        assert made.shape[0] == 48
        assert made.dtype == np.float32
        assert made.min() >= 0
        assert made.max() <= 1


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 50), st.integers(1, 120))),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_any_picture_of_any_size_survives(grey: np.ndarray, seed: int) -> None:
    always = {name: block | {"probability": 1.0} for name, block in conf().items()}
    made = augment_image(grey, always, np.random.default_rng(seed))
    assert made.dtype == np.uint8
    assert made.shape[0] >= grey.shape[0]
    assert made.shape[1] > 0


@pytest.mark.parametrize("light_on_dark", [False, True])
def test_rules_are_no_darker_than_drawn(light_on_dark: bool) -> None:
    grey = strokes() // 2 + 60  # ink 60, paper 187
    grey = 255 - grey if light_on_dark else grey
    paper, ink = int(np.median(grey)), 195 if light_on_dark else 60
    made = draw("rules", grey=grey, range=[0.5, 0.5])
    changed = made[made != grey].astype(int)
    assert len(changed) > 100
    assert np.abs(changed - (paper + ink) / 2).max() <= 1
