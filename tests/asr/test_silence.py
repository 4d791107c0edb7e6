"""Silence of every kind around speech, by `asr evaluate` and the model that ships."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carousel.asr.cli import main
from carousel.asr.domain import SPEECH
from carousel.asr.sound.read import read_audio
from carousel.common.data.manifest import read_manifest
from tests.conftest import corpus
from tests.recipes.command import prepare

RATE = 16000
DIGITS = ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]
QUIET = {
    "zeros": lambda rng, count: np.zeros(count),
    "dither": lambda rng, count: rng.integers(-1, 2, count) / 32768,
    "noise": lambda rng, count: 1e-3 * rng.standard_normal(count),  # -60 dB of full scale
    "weak noise": lambda rng, count: 1e-4 * rng.standard_normal(count),
}


def word_errors(capsys: pytest.CaptureFixture, manifest: Path) -> int:
    assert main(["evaluate", str(manifest), "--json"]) == 0
    words = json.loads(capsys.readouterr().out)["words"]
    return words["substitutions"] + words["insertions"] + words["deletions"]


def padded(manifest: Path, folder: Path, kind: str, before: float, after: float) -> Path:
    """The manifest's recordings with silence around them, in folder."""
    rng, rows = np.random.default_rng(0), []
    for sample in read_manifest(manifest):
        assert sample.audio is not None
        parts = [QUIET[kind](rng, int(seconds * RATE)).astype(np.float32) for seconds in (before, after)]
        wave = np.concatenate([parts[0], read_audio(sample.audio), parts[1]])
        path = folder / f"{len(rows)}.wav"
        soundfile.write(path, wave, RATE, subtype="PCM_16")
        rows.append({"audio": path.name, "text": sample.text})
    (folder / "padded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "padded.jsonl"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of all six voices of FSDD that are not much weaker than noise of -60 dB."""
    folder = tmp_path_factory.mktemp("fsdd")
    rows = []
    for path in sorted(corpus("fsdd").glob("recordings/*.flac"))[::25]:
        digit, speaker, _ = path.stem.split("_")
        if np.abs(read_audio(path)).max() > 0.1:
            rows.append({"audio": str(path), "text": DIGITS[int(digit)], "speaker": speaker})
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "test.jsonl"


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("an4")
    assert prepare("an4", corpus("an4"), folder) == 0
    return folder / "test.jsonl"


CASES = [("zeros", 0.5, 0.5), ("zeros", 0, 20), ("dither", 5, 0), ("noise", 2, 2), ("weak noise", 10, 10)]


@pytest.mark.parametrize(("kind", "before", "after"), CASES)
def test_silence_around_sentences_costs_no_tenth(
    sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture, kind: str, before: float, after: float
) -> None:
    plain = word_errors(capsys, sentences)
    assert word_errors(capsys, padded(sentences, tmp_path, kind, before, after)) <= 1.1 * plain


@pytest.mark.parametrize(("kind", "before", "after"), CASES)
def test_silence_around_digits_costs_few(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture, kind: str, before: float, after: float
) -> None:
    """The model that ships was trained on these voices and makes no error without: a tenth is none."""
    assert word_errors(capsys, digits) == 0
    assert word_errors(capsys, padded(digits, tmp_path, kind, before, after)) <= 0.05 * 84


def test_times_are_of_the_recording_where_a_rest_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    wave = read_audio(SPEECH.samples / "digits.wav")
    rest = np.zeros(12 * RATE, np.float32)
    soundfile.write(tmp_path / "twice.wav", np.concatenate([rest, wave, rest, wave, rest]), RATE)
    words = []
    for path in (SPEECH.samples / "digits.wav", tmp_path / "twice.wav"):
        assert main(["transcribe", str(path), "--format", "json"]) == 0
        words.append(json.loads(capsys.readouterr().out)["words"])
    once, twice = words
    assert [word["text"] for word in twice] == 2 * [word["text"] for word in once]
    starts = [offset + word["start"] for offset in (12, 24 + len(wave) / RATE) for word in once]
    np.testing.assert_allclose([word["start"] for word in twice], starts, atol=0.1)
    assert all(word["end"] - word["start"] < 1.5 for word in twice)
