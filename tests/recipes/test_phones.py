"""Phones: written and taken apart, counted, aligned; TIMIT and dictionaries in their published layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from carousel.common.cli.prepare import run
from carousel.common.data.manifest import read_manifest
from carousel.common.text.alphabet import Alphabet
from carousel.common.train.recipe import ROOT
from carousel.recipes.phones import FOLDED, errors, frames, phones_of, written
from carousel.recipes.phones import prepare as phones
from carousel.recipes.timit import prepare as timit
from tests.conftest import corpus
from tests.recipes.command import prepare

TIMIT = """
aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# hh hv ih ix iy jh k
kcl l m n ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh
""".split()  # noqa: SIM905


def alphabet(recipe: str) -> list[str]:
    import yaml  # type: ignore[import-untyped]

    return yaml.safe_load((ROOT / "recipes" / recipe / "recipe.yaml").read_text(encoding="utf-8"))["alphabet"]


@given(st.lists(st.sampled_from(TIMIT), max_size=12))
def test_phones_are_taken_apart_as_they_were_put_together(names: list[str]):
    text = written(names)
    plain = [name.replace("-", "").replace("#", "") for name in names]
    assert phones_of(text) == plain
    assert Alphabet(alphabet("timit")).split(text) == [name.capitalize() for name in plain]


def test_61_phones_are_39():
    folded = {name for phone in TIMIT for name in phones_of(written([phone]), fold=True)}
    assert len(TIMIT) == 61 and len(folded) == 39
    assert set(FOLDED) <= {phone.replace("-", "").replace("#", "") for phone in TIMIT}
    assert phones_of("QZhAxhPclP", fold=True) == ["sh", "ah", "sil", "p"]


def test_errors_are_counted_by_phone():
    pairs = [("HhEhL", "HhIhL"), ("NG", "Ng"), ("Zh", "Sh")]
    report = errors.phone_errors(pairs, fold=False)
    assert report["words"]["total"] == 6 and report["wer"] == pytest.approx(4 / 6)  # n g -> ng: two
    assert errors.phone_errors(pairs, fold=True)["wer"] == pytest.approx(3 / 6)


def make_timit(folder: Path, upper: bool = True) -> Path:
    """Two sentences of each speaker, one of them one that all read."""

    def case(name: str) -> str:
        return name.upper() if upper else name

    for part, speakers in (("train", ["fcjf0", "mdac0"]), ("test", [*timit.CORE, *timit.VALID, "mzzz0"])):
        for speaker in speakers:
            for sentence in ("sa1", f"sx{speaker[-1]}17"):
                stem = folder / case("timit") / case(part) / case("dr1") / case(speaker) / case(sentence)
                stem.parent.mkdir(parents=True, exist_ok=True)
                wave = np.zeros(4000, np.int16)
                soundfile.write(f"{stem}{case('.wav')}", wave, 16000, format="NIST", subtype="PCM_16")
                stem.with_suffix(case(".phn")).write_text("0 1600 h#\n1600 2400 ax-h\n2400 4000 ng\n")
                stem.with_suffix(case(".wrd")).write_text("1600 4000 ung\n")
    return folder


@pytest.mark.parametrize("upper", [True, False])
def test_timit_is_read_in_its_layout(tmp_path: Path, upper: bool):
    prepare("timit", make_timit(tmp_path / "corpus", upper), tmp_path / "out")
    rows = {name: list(read_manifest(tmp_path / f"out/{name}.jsonl")) for name in ("train", "valid", "test")}
    assert [len(rows[name]) for name in rows] == [2, 50, 24]
    assert {sample.group for sample in rows["test"]} == set(timit.CORE)
    one = rows["train"][0]
    assert (one.text, one.extra["words"], one.group, one.duration) == ("HAxhNg", "ung", "fcjf0", 0.25)
    assert one.extra["phones"] == [["h#", 0.0, 0.1], ["ax-h", 0.1, 0.15], ["ng", 0.15, 0.25]]


def test_timit_that_is_not_whole_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    corpus = make_timit(tmp_path / "corpus")

    def fails(folder: Path, said: str) -> None:
        assert prepare("timit", folder, tmp_path / "out") == 1
        assert said in capsys.readouterr().err

    wrong = next((corpus / "TIMIT/TRAIN").rglob("SX*.PHN"))
    wrong.write_text("0 4000\n")
    fails(corpus, "is not a line of TIMIT")
    wrong.write_text("0 4000 ng\n")
    wrong.with_suffix(".WAV").unlink()
    fails(corpus, "has no .WAV beside it")
    wrong.unlink()
    for path in (corpus / "TIMIT/TEST/DR1/MDAB0").iterdir():
        path.unlink()
    fails(corpus, "lacks mdab0 of test")
    fails(tmp_path, "has no folder TRAIN")


def make_words(folder: Path, texts: list[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(("train", "valid", "test")):
        rows = []
        for text in texts:
            soundfile.write(folder / f"{name}-{len(rows)}.wav", np.zeros(8000, np.int16), 16000)
            audio = f"{name}-{len(rows)}.wav"
            rows.append({"audio": audio, "text": text, "speaker": f"s{number}", "duration": 0.5})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_words_become_phones(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    dictionary = tmp_path / "words.dict"
    dictionary.write_text(";;; a comment\nGO  G OW1\nNO  N OW1\nNO(2)  N AO1\nsing S IH1 NG\n")
    words = make_words(tmp_path / "words", ["GO NO", "no sing", "GO WEST"])
    out = tmp_path / "out"
    assert prepare("phones", words, out, "--dictionary", dictionary) == 0
    rows = list(read_manifest(out / "train.jsonl"))
    assert [row.text for row in rows] == ["GOwNOw", "NOwSIhNg"]
    assert rows[0].extra == {"words": "GO NO"} and rows[0].group == "s0"
    assert "WEST" in "".join(capsys.readouterr())
    Alphabet(alphabet("phones")).encode(rows[1].text)
    dictionary.write_text("GO\n")
    assert prepare("phones", words, out, "--dictionary", dictionary) == 1
    assert "has a word and no phones" in capsys.readouterr().err


def test_frames_have_the_phone_at_their_middle():
    spans = [("h", 0.0, 0.031), ("axh", 0.031, 0.05), ("q", 0.05, 0.06)]
    assert frames.labels(spans, 8, 0.01, fold=False) == [*["h"] * 3, "axh", "axh", "q", "sil", "sil"]
    assert frames.labels(spans, 8, 0.01, fold=True) == [*["sil"] * 3, "ah", "ah", "sil", "sil", "sil"]
    assert frames.labels(spans, 2, 0.01, fold=False) == ["h", "h"]


def test_timed_phones_become_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from carousel.recipes.sequence.data import read

    prepare("timit", make_timit(tmp_path / "corpus"), tmp_path / "out")
    output, listed = tmp_path / "frames/train", tmp_path / "frames/train.phones"
    assert run(frames, [str(tmp_path / "out/train.jsonl"), str(output), "--fold"]) == 0
    assert listed.read_text().split() == ["ah", "ng", "sil"]
    sequences = read(f"{output}.jsonl", "label", False)
    assert [len(one.x) for one in sequences] == [25, 25] and sequences[0].x.shape[1] == 39
    assert sequences[0].target.tolist() == [2] * 10 + [0] * 5 + [1] * 10
    other = [str(tmp_path / "out/test.jsonl"), str(tmp_path / "frames/test"), "--phones", str(listed)]
    assert run(frames, other) == 1  # the 61 are not those 39
    assert "does not list axh, h" in capsys.readouterr().err
    words = make_words(tmp_path / "words", ["GOw"])
    assert run(frames, [str(words / "train.jsonl"), str(tmp_path / "frames/words")]) == 1
    assert "lacks phones with their times" in capsys.readouterr().err


class Scripted:
    """A model whose alphabet is a, b, c in phones."""

    alphabet = Alphabet(["A", "B", "C"])


def test_an_aligned_phone_lasts_until_the_next():
    from carousel.common.data.manifest import Sample

    best = [0, 1, 1, 0, 0, 2, 0, 3, 3, 0]
    scores = np.log(np.full((10, 4), 0.01))
    scores[np.arange(10), best] = np.log(0.97)
    model: Any = Scripted()
    spans = frames.aligned(scores, Sample(text="ABC"), model, 2.0)
    expected = [("a", 0.2, 1.0), ("b", 1.0, 1.4), ("c", 1.4, 1.8)]
    assert [one[0] for one in spans] == [one[0] for one in expected]
    np.testing.assert_allclose([one[1:] for one in spans], [one[1:] for one in expected])


def test_an4s_dictionary_has_all_its_words(tmp_path: Path):
    """The real one, where it is at hand."""
    folder = corpus("an4")
    known = phones.pronunciations(folder / "etc/an4.dic")
    lines = (folder / "etc/an4_train.transcription").read_text().splitlines()
    words = {word for line in lines for word in line.split("(")[0].split() if word.isalpha()}
    assert words and words <= known.keys()
    assert {phone.capitalize() for one in known.values() for phone in one} <= set(alphabet("phones"))
