"""Utterances joined to one long recording are read as they are alone, but for what their windows cost."""

from pathlib import Path

import numpy as np

import carousel
from carousel.asr.recording import WHOLE
from carousel.asr.sound.read import read_audio
from carousel.common.data.manifest import read_manifest
from carousel.common.text.metrics import error_rates
from tests.conftest import corpus
from tests.recipes.command import prepare

RATE = 16000
PAUSE = 0.5  # s, of faint noise


def test_no_word_is_cut_or_doubled_at_a_join(tmp_path: Path) -> None:
    """By the model that ships. Its words stay as many, within a fiftieth; the errors may grow by no more than
    twice their 95 % interval over the utterances: windows that begin and end elsewhere are read otherwise."""
    assert prepare("an4", corpus("an4"), tmp_path) == 0
    samples = [sample for sample in read_manifest(tmp_path / "valid.jsonl") if sample.audio]
    waves = [read_audio(sample.audio) for sample in samples]
    quiet = (1e-4 * np.random.default_rng(0).standard_normal(round(PAUSE * RATE))).astype(np.float32)
    joined = np.concatenate([piece for wave in waves for piece in (wave, quiet)])
    assert len(joined) > WHOLE * RATE
    speech = carousel.load("speech-en-commands")
    read = [speech.transcribe(wave).text for wave in waves]
    alone = error_rates((sample.text, text) for sample, text in zip(samples, read, strict=True))
    whole = speech.transcribe(joined)
    texts = " ".join(sample.text for sample in samples)
    low, high = alone["wer_interval"]
    assert error_rates([(texts, whole.text)])["wer"] <= alone["wer"] + 2 * (high - low)
    said = sum(len(text.split()) for text in read)
    assert abs(len(whole.words) - said) <= 0.02 * said
    assert [word.start for word in whole.words] == sorted(word.start for word in whole.words)
