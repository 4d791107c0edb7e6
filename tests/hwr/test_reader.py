"""The way from a sample to features: what varies, what does not, and what is said of unreadable samples."""

import numpy as np
import pytest
from PIL import Image

from carousel.common.data.manifest import Sample
from carousel.common.errors import InputError
from carousel.common.settings.field import defaults
from carousel.common.settings.training import GROUPS
from carousel.hwr import features as dispatch
from carousel.hwr.ink import features as ink_features
from carousel.hwr.ink.render import render
from carousel.hwr.reader import read

INK = {"kind": "ink"}
IMAGE = {"kind": "image", "height": 32}
WORD = [
    np.stack([np.linspace(0, 300, 90), 40 * np.sin(np.linspace(0, 25, 90))], axis=1).astype(np.float32),
    np.array([[50.0, -80.0]], dtype=np.float32),
]
SAMPLE = Sample(text="mm", strokes=WORD, where="train.jsonl:7")


def settings(name: str) -> dict:
    group, choice = name.split("/")
    return defaults(GROUPS[group][choice])


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_ink_without_generator_or_settings_is_not_varied():
    plain = read(SAMPLE, INK)
    np.testing.assert_array_equal(plain, ink_features.extract(WORD, INK)[0])
    np.testing.assert_array_equal(plain, read(SAMPLE, INK, settings("augment/ink")))
    np.testing.assert_array_equal(plain, read(SAMPLE, INK, {}, generator()))


@pytest.mark.parametrize(("features", "augment"), [(INK, "ink"), (IMAGE, "image")])
def test_the_generator_decides_what_is_seen(features, augment):
    varied = [
        read(SAMPLE, features, settings(f"augment/{augment}"), generator(seed)) for seed in (1, 1, 2, 3)
    ]
    np.testing.assert_array_equal(varied[0], varied[1])
    assert len({array.tobytes() for array in varied[1:]}) == 3
    assert all(array.dtype == np.float32 and array.shape[1] == dispatch.size(features) for array in varied)


def test_ink_for_a_model_of_images_is_drawn():
    plain = read(SAMPLE, IMAGE)
    np.testing.assert_array_equal(plain, dispatch.extract(render(WORD, 32), IMAGE)[0])
    assert plain.shape[1] == 32
    assert plain.max() > 0.8  # ink is 1


def test_hand_and_pen_can_be_held_still_while_the_picture_varies():
    still = settings("augment/image") | {"ink": None, "render": None}
    for block in still.values():
        if isinstance(block, dict) and "probability" in block:
            block["probability"] = 0.0
    np.testing.assert_array_equal(read(SAMPLE, IMAGE, still, generator()), read(SAMPLE, IMAGE))


def test_pictures_are_kept_in_the_cache(tmp_path):
    path = tmp_path / "line.png"
    Image.fromarray(render(WORD, 40)).save(path)
    sample = Sample(text="mm", image=path)
    cache: dict = {}
    first = read(sample, IMAGE, cache=cache)
    assert list(cache) == [path]
    assert cache[path].dtype == np.uint8
    path.unlink()
    np.testing.assert_array_equal(read(sample, IMAGE, cache=cache), first)
    varied = read(sample, IMAGE, settings("augment/image"), generator(), cache)
    assert varied.shape != first.shape or (varied != first).any()
    np.testing.assert_array_equal(read(sample, IMAGE, cache=cache), first)  # the kept picture is not changed


def test_samples_that_cannot_be_read_are_named(tmp_path):
    picture = tmp_path / "line.png"
    cases = [
        (Sample(text="x", image=picture, where="m:1"), INK, 'line.png: has no "strokes"'),
        (Sample(text="x", image=picture, where="m:1"), IMAGE, "line.png: there is no such file"),
        (Sample(text="x", where="m:2"), IMAGE, "m:2: has neither"),
        (Sample(text="x", strokes=[], where="m:3"), INK, "m:3: the ink holds no point"),
        (
            Sample(text="x", strokes=[np.full((2, 2), np.nan)], where="m:4"),
            IMAGE,
            "m:4: the ink holds a coordinate",
        ),
    ]
    for sample, features, message in cases:
        with pytest.raises(InputError) as error:
            read(sample, features)
        assert message in str(error.value)
        assert str(error.value).count("line.png") <= 1


@pytest.mark.parametrize("kind", [None, "logmel"])
def test_other_kinds_are_refused(kind):
    with pytest.raises(InputError, match="kind"):
        dispatch.extract(WORD, {"kind": kind})
    with pytest.raises(InputError, match="kind"):
        dispatch.size({"kind": kind})
