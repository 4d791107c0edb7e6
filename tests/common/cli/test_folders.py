"""Commands on folders and on parts of recordings, from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carousel.asr.cli import main as asr
from carousel.common.data.manifest import read_manifest
from carousel.common.model import file as model_file
from carousel.common.settings.field import defaults
from carousel.common.settings.text import Text
from carousel.common.train import loop as training
from carousel.hwr.cli import main as hwr
from tests.common import toy
from tests.common.data.layouts.test_found import write
from tests.tiny import tiny_model

RATE = 16000


def noise(path: Path, seconds: float, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE))
    soundfile.write(path, wave, RATE)
    return path


@pytest.fixture
def kaldi(tmp_path) -> Path:
    """A data directory in which two utterances are parts of one recording, and one has figures in it."""
    noise(tmp_path / "kaldi" / "long.wav", 5, 1)
    folder = tmp_path / "kaldi" / "test"
    write(folder / "wav.scp", "long long.wav\n")
    write(folder / "text", "u1 bad cab\nu2 a bed\nu3 4 beds\n")
    write(folder / "utt2spk", "u1 ann\nu2 bob\nu3 bob\n")
    write(folder / "segments", "u1 long 0.5 2.25\nu2 long 2.5 4.5\nu3 long 4.5 5.0\n")
    return tmp_path / "kaldi"


@pytest.fixture
def model(tmp_path) -> Path:
    return tiny_model(tmp_path / "tiny.safetensors", "speech", name="tiny")


def run(capsys, *words) -> tuple[int, str, str]:
    status = asr([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


def test_prepare_tells_what_a_folder_holds_and_writes_it(kaldi, tmp_path, capsys):
    noise(kaldi / "lost.wav", 1, 2)
    output = tmp_path / "out" / "m.jsonl"
    status, out, _ = run(capsys, "prepare", kaldi, "--output", output)
    assert status == 0
    assert "layout: Kaldi" in out and "3 recordings or parts, 0.00 hours, 2 speakers" in out
    assert "splits: test 3" in out and "figures stand in 1 of 3 texts, as in '4 beds'" in out
    samples = list(read_manifest(output))
    assert [(s.text, s.group, s.part) for s in samples] == [
        ("bad cab", "ann", (0.5, 2.25)),
        ("a bed", "bob", (2.5, 4.5)),
        ("4 beds", "bob", (4.5, 5.0)),
    ]
    assert all(sample.audio and sample.audio.is_file() for sample in samples)
    assert run(capsys, "prepare", output)[0] == 0  # a manifest is told as well


def test_prepare_writes_texts_as_asked(kaldi, tmp_path, capsys):
    output = tmp_path / "m.jsonl"
    status, out, _ = run(capsys, "prepare", "--case", "upper", "--keep", "letters", kaldi, "--output", output)
    assert status == 0 and "characters dropped: 4" in out
    assert [sample.text for sample in read_manifest(output)] == ["BAD CAB", "A BED", "BEDS"]
    status, out, _ = run(capsys, "prepare", kaldi, "--keep", "a-z", "--others", "leave")
    assert "2 recordings" in out and "left out: 1 × text with other characters than asked for" in out
    status, _, err = run(capsys, "prepare", kaldi, "--keep", "x")
    assert status == 1 and "no text is left" in err


def test_prepare_of_what_is_no_folder_or_no_manifest(kaldi, tmp_path, capsys):
    assert run(capsys, "prepare", kaldi, "--output", tmp_path / "m.csv")[0] == 2
    status, _, err = run(capsys, "prepare", tmp_path / "absent")
    assert status == 1 and "there is no such folder" in err
    (tmp_path / "empty").mkdir()
    status, _, err = run(capsys, "prepare", tmp_path / "empty")
    assert status == 1 and "fits no layout; looked for" in err and "it holds no file" in err
    with pytest.raises(SystemExit) as stop:
        asr(["prepare", "an5", "x"])
    assert stop.value.code == 2 and "invalid choice: 'an5'" in capsys.readouterr().err


def test_ink_is_prepared_and_read_back(tmp_path, capsys):
    write(tmp_path / "ink" / "a.json", "[[0, 0, 1.5, 1], [3, 4]]")
    write(tmp_path / "ink" / "a.txt", "i")
    output = tmp_path / "m.jsonl.gz"
    assert hwr(["prepare", str(tmp_path / "ink"), "--output", str(output)]) == 0
    (sample,) = read_manifest(output)
    assert sample.text == "i" and [stroke.tolist() for stroke in sample.strokes] == [
        [[0, 0], [1.5, 1]],
        [[3, 4]],
    ]


def test_evaluate_reads_parts_as_it_reads_what_was_cut(kaldi, model, tmp_path, capsys):
    wave, _ = soundfile.read(kaldi / "long.wav")
    rows = []
    for n, (start, end, text) in enumerate(
        ((0.5, 2.25, "bad cab"), (2.5, 4.5, "a bed"), (4.5, 5.0, "4 beds"))
    ):
        soundfile.write(tmp_path / f"{n}.wav", wave[round(start * RATE) : round(end * RATE)], RATE)
        rows.append(json.dumps({"audio": f"{n}.wav", "text": text}))
    write(tmp_path / "cut.jsonl", "\n".join(rows))
    read = []
    for given in (kaldi, tmp_path / "cut.jsonl"):
        output = tmp_path / "hypotheses.jsonl"
        status, out, _ = run(capsys, "evaluate", given, "--model", model, "--json", "--output", output)
        assert status == 0 and json.loads(out)["items"] == 3
        read.append([json.loads(line)["hypothesis"] for line in output.read_text().splitlines()])
    assert read[0] == read[1] and any(read[0])
    assert run(capsys, "evaluate", kaldi, "--model", model, "--by", "speaker")[0] == 0


def test_align_of_a_folder_tells_times_of_the_whole_recording(kaldi, model, capsys):
    status, out, err = run(capsys, "align", kaldi, "--model", model, "--format", "json", "--skip-unknown")
    assert status == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    spans = [(words[0]["start"], words[-1]["end"]) for one in found if (words := one["words"])]
    limits = [(0.5, 2.25), (2.5, 4.5), (4.5, 5.0)]
    assert len(spans) == 3
    assert all(low <= start < end <= high for (start, end), (low, high) in zip(spans, limits, strict=True))


def test_transcribe_and_spot_of_a_manifest_read_its_parts(kaldi, model, tmp_path, capsys):
    manifest = tmp_path / "m.jsonl"
    run(capsys, "prepare", kaldi, "--output", manifest)
    for words in (["transcribe", manifest], ["spot", "bad,a", manifest, "--threshold", "0"]):
        status, out, err = run(capsys, *words, "--model", model, "--format", "json")
        assert status == 0, err
        found = [json.loads(line) for line in out.splitlines()]
        assert len(found) == 3
        for one, (low, high) in zip(found, [(0.5, 2.25), (2.5, 4.5), (4.5, 5.0)], strict=True):
            assert all(low <= word["start"] <= word["end"] <= high for word in one.get("words", []))
    status, _, _ = run(capsys, "transcribe", manifest, "--model", model, "--output", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "long.wav-2.txt",
        "long.wav-3.txt",
        "long.wav.txt",
    ]


def test_language_model_of_a_folder_in_the_letters_of_a_model(kaldi, tmp_path, capsys):
    text = {**defaults(Text), "drop": "b"}
    model = tiny_model(tmp_path / "text.safetensors", "speech", symbols=" ABCDE", name="tiny", text=text)
    arpa = tmp_path / "words.arpa"
    assert run(capsys, "lm", kaldi, "--order", "1", "--model", model, "--output", arpa)[0] == 0
    assert {line.split()[1] for line in arpa.read_text().splitlines() if line.startswith("-")} >= {
        "AD",
        "CA",
        "ED",
    }


def test_references_are_written_as_the_texts_that_a_model_learned(kaldi, tmp_path, capsys):
    text = {**defaults(Text), "case": "upper", "keep": "letters"}
    model = tiny_model(tmp_path / "text.safetensors", "speech", symbols=" ABCDES", name="tiny", text=text)
    output = tmp_path / "hypotheses.jsonl"
    status, _, err = run(capsys, "evaluate", kaldi, "--model", model, "--output", output)
    assert status == 0 and "text.case=upper, text.keep=letters" in err
    told = [json.loads(line)["reference"] for line in output.read_text().splitlines()]
    assert told == ["BAD CAB", "A BED", "BEDS"]


def test_training_writes_texts_as_its_settings_say_and_keeps_these_in_the_model(tmp_path, caplog):
    config = toy.settings(tmp_path, epochs=1)
    config["text"] = {**defaults(Text), "case": "upper", "keep": "A-C", "others": "leave"}
    with caplog.at_level("WARNING"):
        path = training.train(config, toy.read, toy.size, tmp_path / "run")
    found = model_file.load(path)
    assert set(found.alphabet.symbols) == {"A", "B", "C"} and found.card["text"] == config["text"]
    assert "text with characters beside text.keep" in caplog.text
