"""A part of a recording is what it is in the whole, however it is reached."""

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.asr.reader import read
from carousel.asr.recording import open as open_recording
from carousel.asr.sound import part
from carousel.asr.sound.read import read_recording
from carousel.common.data.manifest import Sample
from carousel.common.domain import EVERYTHING
from carousel.common.errors import InputError
from carousel.common.settings.features import LogMel
from carousel.common.settings.field import defaults
from tests.asr.sound_files import PLAIN

SECONDS = 4


def wave(rate: int, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(rate)
    at = np.arange(rate * SECONDS) / rate
    mono = 0.3 * np.sin(2 * np.pi * (200 + 300 * at) * at) + rng.normal(0, 0.03, len(at))
    return np.stack([mono * (1 - 0.3 * k) for k in range(channels)], axis=1).astype(np.float32)


@pytest.fixture(scope="module", params=[16000, 44100])
def files(request, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    made = []
    for name, (form, coding) in PLAIN.items():
        path = folder / name
        soundfile.write(path, wave(48000 if form == "OGG" else request.param, 2), 48000 if form == "OGG" else
                        request.param, format=form, subtype=coding)  # fmt: skip
        made.append(path)
    return made


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (1.1234, 2.6789), (3.2, None), (3.5, 4.2)])
def test_a_part_is_that_of_the_whole(files, start, end):
    for path in files:
        whole = read_recording(path).samples
        expected = whole[round(start * 16000) : None if end is None else round(end * 16000)]
        found = part.read_part(path, start, end).samples
        assert len(found) == len(expected), path.name
        np.testing.assert_allclose(found, expected, atol=2e-6, err_msg=path.name)


def test_integers_of_16_bits_are_sought_and_others_are_read_whole(files):
    sought = {path.name for path in files if part._seekable(str(path), path.stat().st_mtime_ns) is not None}
    assert {"a.wav", "a.flac", "a.ogg", "a.opus"} <= sought
    assert not sought & {"a24.wav", "float.wav", "a.mp3"}


@given(st.floats(0, 3.9), st.floats(0.01, 4))
@settings(max_examples=25)
def test_any_part(start, length):
    path = any_file()
    end = min(start + length, SECONDS)
    whole = read_recording(path).samples
    found = part.read_part(path, start, end).samples
    np.testing.assert_allclose(found, whole[round(start * 16000) : round(end * 16000)], atol=2e-6)


def any_file(made: list[Path] = []) -> Path:  # noqa: B006
    import tempfile

    if not made:
        made.append(Path(tempfile.mkdtemp()) / "a.flac")
        soundfile.write(made[0], wave(22050), 22050)
    return made[0]


@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_a_part_that_is_not_there_is_named(files, name):
    path = next(path for path in files if path.name == name)
    for start, end in ((5.0, 6.0), (1.0, 9.0), (4.5, None)):
        with pytest.raises(InputError, match="so it has no part from"):
            part.read_part(path, start, end)
    with pytest.raises(InputError, match="there is no such file"):
        part.read_part(path.with_name("absent.wav"), 0, 1)


def test_parts_of_a_recording_that_must_be_decoded_whole_decode_it_once(files, monkeypatch):
    path = next(path for path in files if path.name == "a.mp3")
    part._whole.cache_clear()
    calls = []
    monkeypatch.setattr(part, "read_recording", lambda *given: calls.append(given) or read_recording(*given))
    for start in (0.5, 1.0, 2.0):
        part.read_part(path, start, start + 0.5)
    assert len(calls) == 1


def test_a_recording_that_is_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "a.wav"
    for amplitude in (0.1, 0.2):
        soundfile.write(path, np.full(16000, amplitude), 16000)
        time.sleep(0.01)  # the file systems' clock
        assert part.read_part(path, 0.25, 0.5).samples[0] == pytest.approx(amplitude, abs=1e-3)


def test_samples_with_start_and_end_are_parts_in_features_and_in_the_cache(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, wave(16000), 16000)
    cut = tmp_path / "cut.wav"
    soundfile.write(cut, wave(16000)[16000:40000], 16000)
    sample = Sample("x", audio=path, start=1.0, end=2.5)
    cache: dict = {}
    expected = read(Sample("x", audio=cut), defaults(LogMel))
    for _ in range(2):
        np.testing.assert_allclose(read(sample, defaults(LogMel), cache=cache), expected, atol=0.02)
    assert list(cache) == [(path, 1.0, 2.5)]
    read(Sample("x", audio=path), defaults(LogMel), cache=cache)
    assert len(cache) == 2


def test_times_of_a_part_count_from_the_beginning_of_its_recording(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, wave(16000), 16000)
    ((_, load),) = open_recording(Sample("x", audio=path, start=1.0, end=2.5))
    prepared = load(defaults(LogMel), EVERYTHING)
    assert prepared.about == {"start": 1.0, "duration": 1.5, "truncated": False}
