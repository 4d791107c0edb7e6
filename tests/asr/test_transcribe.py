"""Windows of long recordings, and how their n-best lists come together."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.asr import recording as t
from carousel.common.decoding import Symbol
from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.recogniser import transcribe
from tests.tiny import FEATURES, tiny_model

RATE = 1000  # samples a second: windows do not care, and an hour is small


@settings(max_examples=60)
@given(st.floats(0.1, 400.0), st.integers(0, 2**32 - 1))
def test_windows_cover_the_wave_once_and_keep_their_lengths(seconds, seed):
    wave = np.random.default_rng(seed).normal(size=round(seconds * RATE)).astype(np.float32)
    spans = t.windows(wave, RATE)
    assert [0, *(end for _, end in spans)] == [*(start for start, _ in spans), len(wave)]
    if seconds <= t.WHOLE:
        assert len(spans) == 1
    else:
        lengths = [(end - start) / RATE for start, end in spans]
        assert all(3 <= length <= 15.01 for length in lengths[:-1]) and 0.9 <= lengths[-1] <= 15.01


def test_cuts_fall_into_the_pauses():
    wave = np.random.default_rng(0).normal(size=200 * RATE).astype(np.float32)
    for second in (12, 25, 38):  # half a second of quiet, within reach one after the other
        wave[second * RATE : second * RATE + RATE // 2] *= 0.01
    cuts = [start / RATE for start, _ in t.windows(wave, RATE)]
    for cut, second in zip(cuts[1:4], (12, 25, 38), strict=True):
        assert second < cut < second + 0.5


@given(
    st.lists(st.lists(st.floats(-50, 0), min_size=1, max_size=4), max_size=5),
    st.integers(1, 20),
)
def test_best_sums_are_those_of_all_combinations(scores, count):
    rows = [sorted(row, reverse=True) for row in scores]
    every = sorted((sum(combination) for combination in itertools.product(*rows)), reverse=True)
    found = t.best_sums(rows, count)
    assert [total for total, _ in found] == pytest.approx(every[:count])
    for total, picks in found:
        assert total == pytest.approx(sum(row[pick] for row, pick in zip(rows, picks, strict=True)))


def test_single_spaces():
    def texts(text):
        return "".join(s.text for s in t.single_spaces(Symbol(c, 0, 0, 1) for c in text))

    assert texts("  one   two ") == "one two"
    assert texts("   ") == texts("") == ""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file.load(tiny_model(tmp_path_factory.mktemp("model") / "m.safetensors", "speech"))


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that changes its colour ten times a second, so that an untrained network says something."""
    rng = np.random.default_rng(seed)
    parts = [
        np.convolve(rng.normal(size=1600), rng.normal(size=rng.integers(1, 30)), mode="same")
        for _ in range(round(10 * seconds))
    ]
    wave = np.concatenate(parts)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def read_alone(model, wave, **options):
    return transcribe(model, [t.prepare(wave, model.features)], 10_000, **options)[0]


def test_a_long_recording_is_the_transcripts_of_its_windows_shifted(model):
    wave = noise(190)
    whole = read_alone(model, wave)
    spans = t.windows(wave, 16000)
    assert len(spans) > 5
    words = []
    for start, end in spans:
        shift = start / 16000
        found = read_alone(model, wave[start:end]).words
        words += [(w.text, round(w.start + shift, 4), round(w.end + shift, 4)) for w in found]
    assert len(words) > 50
    assert [(w.text, round(w.start, 4), round(w.end, 4)) for w in whole.words] == words
    assert whole.best.text == " ".join(text for text, _, _ in words)
    assert whole.about["duration"] == 190
    ends = [time for _, start, end in words for time in (start, end)]
    assert ends == sorted(ends) and ends[-1] <= 190


def test_recordings_in_one_batch_are_transcribed_as_alone(model):
    waves = [noise(seconds, seed) for seed, seconds in enumerate((0.3, 2.0, 1.1, 0.1))]
    together = transcribe(
        model, [t.prepare(wave, model.features) for wave in waves], 10_000, decoder="beam", nbest=3
    )
    for wave, found in zip(waves, together, strict=True):
        alone = read_alone(model, wave, decoder="beam", nbest=3)
        assert [r.text for r in found.readings] == [r.text for r in alone.readings]
        assert [r.score for r in found.readings] == pytest.approx([r.score for r in alone.readings], abs=1e-3)


def test_n_best_texts_differ_and_come_best_first(model):
    found = read_alone(model, noise(2), decoder="beam", nbest=5).readings
    assert 1 < len(found) <= 5 and len({reading.text for reading in found}) == len(found)
    scores = [reading.score for reading in found]
    assert scores == sorted(scores, reverse=True)


def test_silence_is_empty_text_and_not_shown_to_the_network(model):
    silent = np.zeros(32000, np.float32)
    assert read_alone(model, silent).best.text == ""
    assert read_alone(model, silent + 0.25).best.text == ""  # an offset is no sound
    assert read_alone(model, silent).best.confidence is None
    assert read_alone(model, noise(2) * 0.01).best.text  # a quiet voice is


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_a_wave_shorter_than_a_window_is_an_error(samples):
    with pytest.raises(InputError, match="sample"):
        t.prepare(np.zeros(samples, np.float32), FEATURES["speech"])


def test_times_are_whole_microseconds(tmp_path):
    """60 × 0.03 s are 1.7999999999999998 s to a computer."""
    model = model_file.load(tiny_model(tmp_path / "m.safetensors", "speech"))
    (transcript,) = transcribe(model, [t.prepare(noise(3), model.features)], 20_000)
    times = [time for symbol in transcript.best.symbols for time in (symbol.start, symbol.end)]
    assert len(times) > 40 and all(len(repr(time)) <= 8 for time in times)
