"""Each prepare.py on small corpora in the published layout, on faulty ones, and on the real ones."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from carousel.asr import augment, features
from carousel.asr.sound.read import read_audio
from carousel.common.cli.prepare import run
from carousel.common.data.manifest import read_manifest
from carousel.common.decoding import Symbol
from carousel.common.settings.field import defaults
from carousel.common.settings.training import GROUPS
from carousel.common.train.settings import register, top_level
from carousel.recipes.fsdd import cut as fsdd_cut
from carousel.recipes.fsdd import prepare as fsdd
from tests.conftest import REPOSITORY, corpus
from tests.recipes.command import prepare

RECIPES = ["an4", "fsdd", "librispeech", "phones", "speechocean762", "timit", "voa"]
Wave = Callable[[Path], object]


def sound(seconds: float = 0.1, rate: int = 16000) -> np.ndarray:
    return (8000 * np.sin(np.arange(int(seconds * rate)) / 5)).astype(np.int16)


def write(path: Path, form: str | None = None, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(rate=rate), rate, format=form)


def splits(folder: Path) -> dict[str, list[dict]]:
    """The manifests as they stand in the files, after each line has been through the reader of manifests."""
    rows = {}
    for name in ("train", "valid", "test"):
        path = folder / f"{name}.jsonl"
        rows[name] = [json.loads(line) for line in path.read_text().splitlines()]
        for sample in read_manifest(path):
            assert sample.audio is not None
            assert sample.audio.is_file()
            assert sample.duration is not None
            assert sample.duration > 0
            assert sample.text == " ".join(sample.text.split()) != ""
    return rows


def assert_disjoint(rows: dict[str, list[dict]]) -> None:
    voices = [{row["speaker"] for row in split} for split in rows.values()]
    assert sum(map(len, voices)) == len(set.union(*voices))
    files = [row["audio"] for split in rows.values() for row in split]
    assert len(files) == len(set(files))


def count(rows: dict[str, list[dict]]) -> list[int]:
    return [len(rows[name]) for name in ("train", "valid", "test")]


# AN4


def make_an4(folder: Path, write_one: Wave, suffix: str, speakers: int = 20) -> Path:
    """Two utterances each by `speakers` women and men, one of whom has two names, and one test speaker."""
    names = [f"{'fm'[number % 2]}a{chr(97 + number)}x" for number in range(speakers)] + ["mdcs", "mdcs2"]
    parts = {"train": ("an4_clstk", names), "test": ("an4test_clstk", ["fzzz"])}
    (folder / "etc").mkdir(parents=True)
    for name, (part, voices) in parts.items():
        ids, lines = [], []
        for voice in voices:
            for utterance in (f"an1-{voice}-b", f"cen2-{voice}-b"):
                ids.append(f"{part}/{voice}/{utterance}")
                text = "ENTER  B TWO"
                lines.append(f"<s> {text} </s> ({utterance})" if name == "train" else f"{text} ({utterance})")
                path = folder / "wav" / part / voice / (utterance + suffix)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_one(path)
        (folder / "etc" / f"an4_{name}.fileids").write_text("\n".join(ids) + "\n")
        (folder / "etc" / f"an4_{name}.transcription").write_text("\n".join(lines) + "\n")
    return folder


AN4_FILES: dict[str, tuple[str, Wave]] = {
    "flac": (".flac", write),
    "wav": (".wav", write),
    "sphere": (".sph", lambda path: write(path, "NIST")),
    "raw, little": (".raw", lambda path: path.write_bytes(sound().astype("<i2").tobytes())),
    "raw, big": (".raw", lambda path: path.write_bytes(sound().astype(">i2").tobytes())),
}


@pytest.mark.parametrize("kind", AN4_FILES)
def test_an4_in_every_published_form(tmp_path: Path, kind: str) -> None:
    suffix, write_one = AN4_FILES[kind]
    folder = make_an4(tmp_path / "corpus", write_one, suffix)
    assert prepare("an4", folder, tmp_path / "out") == 0
    rows = splits(tmp_path / "out")
    assert sum(count(rows)[:2]) == 44
    assert len(rows["test"]) == 2
    assert_disjoint(rows)
    assert {row["text"] for split in rows.values() for row in split} == {"ENTER B TWO"}
    sides = {row["speaker"]: name for name in ("train", "valid") for row in rows[name]}
    assert sides["mdcs"] == sides["mdcs2"]
    for row in rows["valid"]:
        wave = read_audio(tmp_path / "out" / row["audio"])
        np.testing.assert_array_equal(wave, sound() / np.float32(32768))


def test_an4_gives_the_same_whatever_the_order_of_files(tmp_path: Path) -> None:
    folder = make_an4(tmp_path / "corpus", write, ".flac")
    prepare("an4", folder, tmp_path / "out")
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for name in ("fileids", "transcription"):
        path = folder / "etc" / f"an4_train.{name}"
        path.write_text("\n".join(reversed(path.read_text().splitlines())))
    prepare("an4", folder, tmp_path / "again")
    for name, content in first.items():
        assert sorted((tmp_path / "again" / name).read_bytes().split(b"\n")) == sorted(content.split(b"\n"))


def break_an4(folder: Path, fault: str) -> None:
    audio = next((folder / "wav").glob("an4_clstk/*/*.flac"))
    etc = folder / "etc"
    if fault == "missing recording":
        audio.unlink()
    elif fault == "missing list":
        (etc / "an4_test.fileids").unlink()
    elif fault == "lost line":
        lines = (etc / "an4_train.transcription").read_text().splitlines()
        (etc / "an4_train.transcription").write_text("\n".join(lines[1:]))
    elif fault == "shuffled":
        lines = (etc / "an4_train.transcription").read_text().splitlines()
        (etc / "an4_train.transcription").write_text("\n".join([*lines[1:], lines[0]]))
    elif fault == "empty text":
        text = (etc / "an4_test.transcription").read_text().replace("ENTER  B TWO", "", 1)
        (etc / "an4_test.transcription").write_text(text)
    elif fault == "no test speaker of their own":
        for name in ("fileids", "transcription"):
            train = (etc / f"an4_train.{name}").read_text().splitlines()
            (etc / f"an4_test.{name}").write_text(train[0])
    elif fault == "empty recording":
        audio.write_bytes(b"")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing recording", "there is no such recording"),
        ("missing list", "an4_test.fileids"),
        ("lost line", "44 fileids, 43 transcriptions"),
        ("shuffled", "where its transcription has"),
        ("empty text", "empty text"),
        ("no test speaker of their own", "is in train as well; splits must not share speakers"),
        ("empty recording", "is empty"),
    ],
)
def test_a_faulty_an4_is_one_sentence_and_writes_no_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, words: str
) -> None:
    folder = make_an4(tmp_path / "corpus", write, ".flac")
    break_an4(folder, fault)
    assert prepare("an4", folder, tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(tmp_path.glob("out/*.jsonl"))


def test_the_real_an4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare("an4", corpus("an4"), tmp_path) == 0
    rows = splits(tmp_path)
    assert count(rows) == [845, 103, 130]
    assert_disjoint(rows)
    assert sum(len(row["text"].split()) for row in rows["test"]) == 773
    voices = {name: {row["speaker"] for row in split} for name, split in rows.items()}
    assert list(map(len, voices.values())) == [66, 8, 10]
    assert Counter(name[0] for name in voices["valid"]) == {"f": 3, "m": 5}
    assert {"mdcs", "mdcs2"} <= voices["train"]
    assert set("".join(row["text"] for split in rows.values() for row in split)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ "
    )
    assert "845 samples, 66 speakers, 0.63 hours" in capsys.readouterr().out


# FSDD

FSDD_VOICES = ["george", "jackson", "lucas", "nicolas"]


def make_fsdd(folder: Path) -> Path:
    for voice in FSDD_VOICES:
        for digit in range(10):
            for number in (2, 10):
                write(folder / "recordings" / f"{digit}_{voice}_{number}.wav", rate=8000)
    (folder / "recordings" / "notes.txt").write_text("not a recording")
    return folder


def test_fsdd_folds(tmp_path: Path) -> None:
    assert prepare("fsdd", make_fsdd(tmp_path / "corpus"), tmp_path / "out") == 0
    roles: dict[str, list[str]] = defaultdict(list)
    for fold in FSDD_VOICES:
        rows = splits(tmp_path / "out" / fold)
        assert count(rows) == [40, 20, 20]
        assert_disjoint(rows)
        assert {row["speaker"] for row in rows["test"]} == {fold}
        roles["valid"] += {row["speaker"] for row in rows["valid"]}
        for row in rows["test"]:
            assert row["text"] == fsdd.WORDS[int(Path(row["audio"]).name[0])]
            assert row["duration"] == pytest.approx(0.1)
    assert sorted(roles["valid"]) == FSDD_VOICES  # each once


def test_fsdd_one_fold_and_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = make_fsdd(tmp_path / "corpus"), tmp_path / "out"
    assert prepare("fsdd", folder, out, "--fold", "lucas") == 0
    assert [path.name for path in out.iterdir()] == ["lucas"]
    assert prepare("fsdd", folder, out, "--fold", "nobody") == 1
    assert "george, jackson, lucas, nicolas" in capsys.readouterr().err
    assert prepare("fsdd", tmp_path / "nothing", out) == 1
    assert "recordings: is missing" in capsys.readouterr().err


def test_fsdd_digits_are_cut_where_the_alignment_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words that are no digits stay out, and so do segments that no digit can fill."""
    wave = np.arange(32000, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    row = {"audio": "a.wav", "text": "ENTER SIX NINE TWO", "speaker": "x"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "text": "NOTHING"}))
    words = [("ENTER", 0.1, 0.5), ("SIX", 0.5, 0.9), ("NINE", 1.0, 1.05), ("TWO", 1.25, 1.5)]
    monkeypatch.setattr(fsdd_cut, "load", lambda path: None)
    monkeypatch.setattr(fsdd_cut, "word_segments", lambda model, sample: [Symbol(*w, 1.0) for w in words])
    assert run(fsdd_cut, ["any", str(tmp_path / "digits"), str(tmp_path / "m.jsonl")]) == 0
    assert "2 of 3 digits; 0 samples not aligned" in capsys.readouterr().out
    samples = list(read_manifest(tmp_path / "digits.jsonl"))
    assert [(s.text, s.group, s.duration) for s in samples] == [("SIX", "x", 0.4), ("TWO", "x", 0.25)]
    found, _ = soundfile.read(samples[0].audio, dtype="int16")
    np.testing.assert_array_equal(found, wave[8000:14400])


def test_fsdd_without_a_digit_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.jsonl").write_text('{"audio": "a.wav", "text": "NOTHING"}')
    monkeypatch.setattr(fsdd_cut, "load", lambda path: None)
    assert run(fsdd_cut, ["any", str(tmp_path / "digits"), str(tmp_path / "m.jsonl")]) == 1
    assert "no digit could be cut out" in capsys.readouterr().err


def test_the_real_fsdd(tmp_path: Path) -> None:
    assert prepare("fsdd", corpus("fsdd"), tmp_path, "--fold", "yweweler") == 0
    rows = splits(tmp_path / "yweweler")
    assert count(rows) == [2000, 500, 500]
    assert_disjoint(rows)
    assert {row["speaker"] for row in rows["valid"]} == {"george"}
    assert set(Counter(row["text"] for row in rows["test"]).values()) == {50}


# LibriSpeech


def make_librispeech(folder: Path, suffix: str = ".flac") -> Path:
    for name, voices in (("train-clean-100", (103, 27, 9)), ("dev-clean", (84,)), ("test-other", (367, 533))):
        for voice in voices:
            for chapter in (1240, 200):
                place = folder / name / str(voice) / str(chapter)
                for number in range(2):
                    write(
                        place / f"{voice}-{chapter}-{number:04}{suffix}", "OGG" if suffix == ".opus" else None
                    )
                lines = [f"{voice}-{chapter}-{number:04} CHAPTER ONE IT'S" for number in range(2)]
                (place / f"{voice}-{chapter}.trans.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("suffix", [".flac", ".opus"])
def test_librispeech_holds_out_the_last_speaker(tmp_path: Path, suffix: str) -> None:
    assert prepare("librispeech", make_librispeech(tmp_path / "corpus", suffix), tmp_path / "out") == 0
    rows = splits(tmp_path / "out")
    assert count(rows) == [8, 4, 8]
    assert_disjoint(rows)
    assert {row["speaker"] for row in rows["valid"]} == {
        "103"
    }  # the highest number, not the last in the alphabet
    assert rows["train"][0]["text"] == "CHAPTER ONE IT'S"


def test_librispeech_with_named_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = str(make_librispeech(tmp_path / "corpus")), str(tmp_path / "out")
    both = ["--train", "train-clean-100", "test-other", "--valid", "dev-clean", "--test", "dev-clean"]
    assert prepare("librispeech", folder, out, *both) == 1
    assert (
        "test.jsonl: speaker 84 is in valid as well; splits must not share speakers"
        in capsys.readouterr().err
    )
    assert prepare("librispeech", folder, out, "--valid", "dev-clean") == 0
    assert count(splits(tmp_path / "out")) == [12, 4, 8]
    assert prepare("librispeech", folder, out, "--valid", "dev-other") == 1
    assert "dev-clean, test-other, train-clean-100" in capsys.readouterr().err


def test_librispeech_with_a_lost_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_librispeech(tmp_path / "corpus")
    (folder / "test-other" / "367" / "200" / "367-200-0001.flac").unlink()
    assert prepare("librispeech", folder, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "367-200-0001" in error
    assert "1 of 8" in error


def test_the_real_librispeech(tmp_path: Path) -> None:
    assert prepare("librispeech", corpus("librispeech"), tmp_path) == 0
    rows = splits(tmp_path)
    assert count(rows)[2] == 100
    assert sum(count(rows)[:2]) == 367
    assert_disjoint(rows)


# speechocean762


def make_speechocean(folder: Path, suffix: str = ".WAV") -> Path:
    for name, voices in (("train", range(1, 26)), ("test", range(3000, 3003))):
        tables: dict[str, list[str]] = defaultdict(list)
        for voice in voices:
            utterance = f"{voice:05}0011"
            place = f"WAVE/SPEAKER{voice:04}/{utterance}"
            write(folder / (place + suffix), "OGG" if suffix == ".opus" else "WAV")
            tables["text"].append(f"{utterance}\tWE CALL IT BEAR")
            tables["utt2spk"].append(f"{utterance}\t{voice:04}")
            tables["spk2utt"].append(f"{voice:04}\t{utterance}")
            tables["wav.scp"].append(f"{utterance}\t{place}.WAV")
        (folder / name).mkdir()
        for table, lines in tables.items():
            (folder / name / table).write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("suffix", [".WAV", ".wav", ".opus"])
def test_speechocean(tmp_path: Path, suffix: str) -> None:
    assert prepare("speechocean762", make_speechocean(tmp_path / "corpus", suffix), tmp_path / "out") == 0
    rows = splits(tmp_path / "out")
    assert count(rows) == [22, 3, 3]
    assert_disjoint(rows)
    assert [row["speaker"] for row in rows["valid"]] == ["0008", "0016", "0024"]
    assert rows["test"][0]["text"] == "WE CALL IT BEAR"


@pytest.mark.parametrize(
    ("table", "lines", "words"),
    [
        ("wav.scp", "", "missing in utt2spk or wav.scp"),
        ("text", "000010011\n", "has no value"),
        ("text", "000010011 A\n000010011 B\n", "stands there twice"),
    ],
)
def test_speechocean_with_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, lines: str, words: str
) -> None:
    folder = make_speechocean(tmp_path / "corpus")
    (folder / "train" / table).write_text(lines)
    assert prepare("speechocean762", folder, tmp_path / "out") == 1
    assert words in capsys.readouterr().err


def test_the_real_speechocean(tmp_path: Path) -> None:
    assert prepare("speechocean762", corpus("speechocean762"), tmp_path) == 0
    rows = splits(tmp_path)
    assert count(rows)[2] == 1700
    assert sum(count(rows)[:2]) == 2500
    assert len({row["speaker"] for row in rows["valid"]}) == 15
    assert_disjoint(rows)


# What all of them share


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_composes_and_its_settings_are_understood(name: str) -> None:
    GlobalHydra.instance().clear()
    register()
    with initialize_config_dir(str(REPOSITORY / "recipes" / name), version_base="1.3"):
        config = compose("recipe", [f"hydra.searchpath=[file://{REPOSITORY / 'conf'}]", f"++name={name}"])
    given = OmegaConf.to_container(config, resolve=True)
    assert isinstance(given, dict)
    assert given["domain"] == "speech"
    assert features.size(given["features"]) > 0
    augment.augment_wave(np.zeros(1600, np.float32), given["augment"], np.random.default_rng(0))
    assert set(given["data"]) == {"train", "valid", "test", "keep", "keep_share"}
    assert all(given["data"][split].startswith(f"data/{name}/") for split in ("valid", "test"))
    assert f"data/{name}/" in str(given["data"]["train"])


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_sets_no_key_that_nothing_reads(name: str) -> None:
    """Hydra takes any new key of a recipe without a word, so a misspelt one would do nothing."""
    own: Any = OmegaConf.load(REPOSITORY / "recipes" / name / "recipe.yaml")
    for group, choices in GROUPS.items():
        known = {key for schema in choices.values() for key in defaults(schema)}
        assert set(own.get(group, {})) <= known, group
    further = {"defaults", "hydra", *(["fold"] if name == "fsdd" else [])}
    assert set(own) <= {*top_level(), *further}
