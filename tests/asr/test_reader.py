"""The reader joins file, changes and features; it adds a cache, names in errors and repeatability."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from carousel.asr import features
from carousel.asr.reader import read
from carousel.asr.sound.read import read_audio
from carousel.common.data.manifest import Sample
from carousel.common.errors import InputError
from carousel.common.settings.field import defaults
from carousel.common.settings.training import GROUPS

RATE = 16000


def conf(group: str, name: str) -> dict:
    return defaults(GROUPS[group][name])


LOGMEL, MFCC, SPEECH = conf("features", "logmel"), conf("features", "mfcc"), conf("augment", "speech")


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    wave = np.random.default_rng(0).normal(0, 0.1, RATE) * np.linspace(0, 1, RATE)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    return Sample(text="A", audio=tmp_path / "a.wav", where="train.jsonl:1")


def test_without_a_generator_nothing_is_changed(sample: Sample) -> None:
    assert sample.audio is not None
    expected = features.extract(read_audio(sample.audio), LOGMEL)
    np.testing.assert_array_equal(read(sample, LOGMEL), expected)
    np.testing.assert_array_equal(read(sample, LOGMEL, SPEECH), expected)
    np.testing.assert_array_equal(read(sample, LOGMEL, {}, np.random.default_rng(0)), expected)


@pytest.mark.parametrize("settings", [LOGMEL, MFCC], ids=["logmel", "mfcc"])
def test_a_generator_in_the_same_state_gives_the_same(sample: Sample, settings: dict) -> None:
    results = [read(sample, settings, SPEECH, np.random.default_rng((1, 2, seed))) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(results[0], results[1])
    assert results[0].shape != results[2].shape or not np.array_equal(results[0], results[2])
    assert results[0].dtype == np.float32
    assert results[0].shape[1] == features.size(settings)


@pytest.mark.parametrize(("changes", "moved"), [({"high": 4000}, True), ({"high": 7600}, False)])
def test_settings_reach_the_features(sample: Sample, changes: dict, moved: bool) -> None:
    assert np.array_equal(read(sample, {**LOGMEL, **changes}), read(sample, LOGMEL)) is not moved


@pytest.mark.parametrize("name", list(SPEECH))
def test_every_change_of_the_settings_reaches_the_features(sample: Sample, name: str) -> None:
    assert sample.audio is not None
    one = {name: {**SPEECH[name], "probability": 1.0}}
    if "folder" in one[name]:
        one[name]["folder"] = str(sample.audio.parent)
    for seed in range(5):  # a mask may have the width 0, a warp be 1
        changed = read(sample, LOGMEL, one, np.random.default_rng(seed))
        plain = read(sample, LOGMEL)
        if changed.shape != plain.shape or not np.array_equal(changed, plain):
            return
    pytest.fail(f"{name} changes nothing")


def test_cepstra_are_masked_in_time_only(sample: Sample) -> None:
    masks = {name: {**SPEECH[name], "count": 6} for name in ("frequency_masks", "time_masks")}
    changed = read(sample, MFCC, masks, np.random.default_rng(0))
    rows = ~changed.any(axis=1)
    assert rows.any()
    np.testing.assert_array_equal(changed[~rows], read(sample, MFCC)[~rows])


def test_the_cache_spares_the_file_and_changes_nothing(sample: Sample) -> None:
    assert sample.audio is not None
    plain, varied = read(sample, LOGMEL), read(sample, LOGMEL, SPEECH, np.random.default_rng(5))
    cache: dict = {}
    np.testing.assert_array_equal(read(sample, LOGMEL, cache=cache), plain)
    assert cache[sample.audio].dtype == np.int16
    sample.audio.unlink()
    np.testing.assert_array_equal(read(sample, LOGMEL, cache=cache), plain)  # 16-bit files are kept exactly
    np.testing.assert_array_equal(read(sample, LOGMEL, SPEECH, np.random.default_rng(5), cache), varied)
    np.testing.assert_array_equal(read(sample, LOGMEL, cache=cache), plain)  # and no change goes back into it


def test_a_cache_that_keeps_nothing_does_no_harm(sample: Sample) -> None:
    class Full(dict):
        def __setitem__(self, key: object, value: object) -> None:
            """No room."""

    np.testing.assert_array_equal(read(sample, LOGMEL, cache=Full()), read(sample, LOGMEL))


def test_a_truncated_recording_of_a_manifest_is_an_error(sample: Sample) -> None:
    assert sample.audio is not None
    sample.audio.write_bytes(sample.audio.read_bytes()[:-8000])
    for cache in (None, {}):
        with pytest.raises(InputError, match=r"a\.wav: is truncated: .*; copy it again"):
            read(sample, LOGMEL, cache=cache)


def test_errors_name_the_file(sample: Sample, tmp_path: Path) -> None:
    assert sample.audio is not None
    soundfile.write(sample.audio, np.zeros(100), RATE)
    with pytest.raises(InputError, match=r"a\.wav: is too short"):
        read(sample, LOGMEL)
    with pytest.raises(InputError, match=r"gone\.wav: there is no such file"):
        read(Sample(text="A", audio=tmp_path / "gone.wav"), LOGMEL)
    with pytest.raises(InputError, match=r'train\.jsonl:7: has no "audio"'):
        read(Sample(text="A", where="train.jsonl:7"), LOGMEL)
