"""Where somebody speaks, and recordings with known joins, by the models that ship."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import carousel
from carousel.asr import voice
from carousel.asr.domain import SPEECH
from carousel.asr.sound.read import read_audio
from carousel.asr.windows import windows_of_voices
from carousel.common.data.manifest import read_manifest
from carousel.common.decoding import Symbol
from carousel.common.domain import Transcript
from carousel.recipes.voice import music
from tests.conftest import corpus
from tests.recipes.command import prepare

RATE = 16000
HELD_OUT = "2"  # the fold of ESC-10 that the detector was not trained on


@pytest.fixture(scope="module")
def speech() -> carousel.Recogniser:
    return carousel.load("speech")


def found(wave: np.ndarray) -> list[tuple[float, float]]:
    return voice.voices(voice.chances(wave, RATE), len(wave) / RATE)


def rain(seconds: float, level: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (level * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize("quiet", [np.zeros(10 * RATE, np.float32), rain(10)], ids=["silence", "noise"])
def test_a_voice_is_found_where_it_is(quiet: np.ndarray) -> None:
    phrase = read_audio(SPEECH.samples / "phrase.wav")
    phrase = phrase / np.abs(phrase).max()
    ((start, end),) = found(np.concatenate([quiet, phrase, quiet]))
    assert start == pytest.approx(10, abs=1.5) and end == pytest.approx(10 + len(phrase) / RATE, abs=1.5)


def test_silence_and_noise_have_no_voice() -> None:
    for wave in (np.zeros(5 * RATE, np.float32), rain(20), rain(20, 0.001)):
        assert found(wave) == []


def test_chances_do_not_depend_on_rows() -> None:
    """A voice beyond the first row of a batch is where it is, to the step."""
    phrase = read_audio(SPEECH.samples / "phrase.wav")
    alone = found(np.concatenate([rain(20, 0.001), phrase, rain(20, 0.001)]))
    late = found(np.concatenate([rain(190, 0.001), phrase, rain(20, 0.001)]))
    np.testing.assert_allclose(np.array(late) - 170, np.array(alone), atol=0.5)


def test_short_and_telephone_recordings_have_chances() -> None:
    for rate in (8000, 16000, 44100):
        for count in (400, rate // 10, rate):
            wave = np.random.default_rng(0).normal(size=count).astype(np.float32)
            chance = voice.chances(wave, rate)
            assert len(chance) >= 1 and np.isfinite(chance).all()


def test_windows_hold_every_voice_once_in_whole_hops() -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(size=400 * RATE).astype(np.float32)
    chance = np.zeros(round(400 / voice.STEP))
    for start, end in ((3, 9), (15, 100), (130, 131), (200, 390)):
        chance[round(start / voice.STEP) : round(end / voice.STEP)] = 1
    groups = windows_of_voices(wave, RATE, 160, chance)
    spans = [span for group in groups for span in group]
    assert spans == sorted(spans) and all(a[1] <= b[0] for a, b in pairwise(spans))
    held = np.zeros(len(wave), int)
    for start, end in spans:
        held[start:end] += 1
    expected = np.repeat(chance, round(voice.STEP * RATE))[: len(wave)] > 0
    assert held.max() == 1 and held[expected].all()
    assert held.sum() < expected.sum() + 4 * 2.1 * voice.GAP * RATE
    assert all(sum(end - start for start, end in group) <= 35.01 * RATE for group in groups)


def test_words_without_a_voice_need_confidence() -> None:
    chance = np.zeros(100)
    chance[60:] = 0.9
    sure, unsure = Symbol("a", 0.5, 0.9, 0.9), Symbol("a", 0.5, 0.9, 0.1)
    assert voice.is_speech(sure, chance) and not voice.is_speech(unsure, chance)
    assert voice.is_speech(unsure._replace(start=2.5, end=3), chance)


def test_music_and_noise_give_little_text(speech: carousel.Recogniser) -> None:
    """Of 80 clips that the detector has not heard, 5 s each, and of six pieces of music."""
    clips = sorted(corpus("noise").glob(f"esc10/*_{HELD_OUT}-*"))
    read = [speech.transcribe(path).words for path in clips[::2]]
    assert len(read) == 40 and sum(map(bool, read)) <= 10
    pieces = [music(20 * RATE, np.random.default_rng(seed)) for seed in range(1000, 1006)]
    words = [len(speech.transcribe(piece / max(np.abs(piece).max(), 1)).words) for piece in pieces]
    assert sum(words) <= 6


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[np.ndarray, str]]:
    """Of one speaker, so that windows differ in nothing but where they begin and end."""
    folder: Path = tmp_path_factory.mktemp("an4")
    assert prepare("an4", corpus("an4"), folder) == 0
    samples = list(read_manifest(folder / "test.jsonl"))
    mine = [(read_audio(s.audio), s.text) for s in samples if s.audio and s.group == samples[0].group]
    return [mine[i % len(mine)] for i in range(80)]


@pytest.mark.parametrize(("pause", "more"), [(0.0, 0.12), (0.5, 0.1), (4.0, 0.05)])
def test_no_word_is_cut_or_doubled_at_a_join(
    speech: carousel.Recogniser, sentences: list[tuple[np.ndarray, str]], pause: float, more: float
) -> None:
    """Utterances of a speaker joined to a recording that is cut into windows, against each alone.

    more: of the words may be wrong; long windows are read worse by a model that has heard short ones.
    """
    between = rain(pause, 1e-4)
    pieces = [piece for wave, _ in sentences for piece in (wave, between)]
    starts = np.cumsum([0, *map(len, pieces)])[:-1:2] / RATE
    whole = speech.transcribe(np.concatenate(pieces))
    alone = [speech.transcribe(wave) for wave, _ in sentences]
    assert whole.about["duration"] > 180
    texts = [word for _, text in sentences for word in text.split()]
    said = [word.text for part in alone for word in part.words]
    read = [word.text for word in whole.words]
    assert abs(len(read) - len(said)) <= 0.02 * len(said)
    assert differing(texts, read) <= differing(texts, said) + more * len(texts)
    if pause > voice.GAP:  # windows of their own
        assert in_place(whole, alone, starts) >= 0.7 * len(said)


def differing(one: list[str], other: list[str]) -> int:
    from carousel.common.text.metrics import edits

    return edits(one, other).errors


def in_place(whole: Transcript, alone: list[Transcript], starts: np.ndarray) -> int:
    """Words of the whole that an utterance alone has within 0.15 s of the same time."""
    own = set()
    for at, part in zip(starts, alone, strict=True):
        own |= {(word.text, round(10 * (at + word.start))) for word in part.words}
    places = [(word.text, round(10 * word.start)) for word in whole.words]
    return sum(any((text, at + shift) in own for shift in (-1, 0, 1)) for text, at in places)
