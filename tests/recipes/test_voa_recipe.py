"""VOA: sentences cut from recordings, and what is said in them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carousel.asr.sound.read import read_audio
from carousel.common.data.manifest import read_manifest
from carousel.recipes.english import readings
from carousel.recipes.voa import prepare as voa
from tests.recipes.command import prepare
from tests.tiny import tiny_model


def test_sentences_are_cut_where_they_stand(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 5 * 16000).astype(np.float32)
    (tmp_path / "sound/repo").mkdir(parents=True)
    soundfile.write(tmp_path / "sound/repo/a.wav", wave, 16000)
    rows = [
        {"audio": "repo/a.wav", "start": 1.0, "end": 2.0, "text": "Yes, it is.", "speaker": "x"},
        {
            "audio": "repo/a.wav",
            "start": 3.0,
            "end": 4.5,
            "text": "In 2020",
            "speaker": "x",
        },  # in several ways
        {"audio": "repo/a.wav", "start": 0.0, "end": 1.0, "text": "Well", "confidence": 0.5},
        {"audio": "repo/a.wav", "start": 0.05, "end": 1.0, "text": "Go", "confidence": 0.95},
    ]
    for split in voa.SPLITS:
        with gzip.open(tmp_path / f"{split}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    words = [str(tmp_path), str(tmp_path / "out"), "--sound", str(tmp_path / "sound")]
    assert prepare("voa", *words) == 0
    samples = list(read_manifest(tmp_path / "out/train.jsonl"))
    assert [sample.text for sample in samples] == ["YES IT IS", "GO"]
    assert samples[0].audio is not None
    np.testing.assert_allclose(read_audio(samples[0].audio), wave[14400:33600], atol=1e-4)
    (tmp_path / "sound/repo/a.wav").unlink()
    assert prepare("voa", *words) == 1
    assert "a.wav: is missing" in capsys.readouterr().err


def test_a_model_chooses_among_readings_and_checks_machine_transcripts(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 4 * 16000).astype(np.float32)
    (tmp_path / "sound").mkdir()
    soundfile.write(tmp_path / "sound/a.wav", wave, 16000)
    rows = [
        {"audio": "a.wav", "start": 0.5, "end": 3.5, "text": text}
        for text in ("In 2020 he", "At 10 he", "An ox")
    ]
    for split in voa.SPLITS:
        with gzip.open(tmp_path / f"{split}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    model = tiny_model(tmp_path / "tiny.safetensors", "speech", symbols=" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    words = [str(tmp_path), str(tmp_path / "out"), "--sound", str(tmp_path / "sound"), "--model", str(model)]
    assert prepare("voa", *words) == 1  # a model that has learnt nothing agrees with no machine transcript
    texts = {sample.text for sample in read_manifest(tmp_path / "out/train.jsonl")}
    assert {sample.text for sample in read_manifest(tmp_path / "out/valid.jsonl")} == {"AN OX"}
    assert "AT TEN HE" in texts and texts & set(readings("In 2020 he")) and len(texts) == 3
    assert prepare("voa", *words, "--most", "99") == 0
