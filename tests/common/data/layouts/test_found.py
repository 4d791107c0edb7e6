"""Reading folders: which layout a folder is, what is left out, and who speaks."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carousel.asr.domain import SPEECH
from carousel.common.data.layouts import Found, group_of
from carousel.common.data.layouts.beside import speakers
from carousel.common.domain import read_data
from carousel.common.errors import InputError

RATE = 8000


def sound(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(len(str(path.name))).normal(0, 0.1, round(seconds * RATE))
    soundfile.write(path, wave, RATE)
    return path


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def spoken(folder: Path) -> Found:
    return read_data(folder, (SPEECH,))[1]


def test_texts_beside_recordings(tmp_path):
    for person in ("ann", "bob"):
        for n, words in enumerate(("yes", "no")):
            sound(tmp_path / "wav" / person / f"{n}.wav")
            write(tmp_path / "wav" / person / f"{n}.{'txt' if n else 'lab'}", words + "\n")
    sound(tmp_path / "wav" / "ann" / "silent.wav")
    write(tmp_path / "lost.txt", "nobody says this")
    found = spoken(tmp_path)
    assert found.layout == "texts beside files"
    assert [(r["audio"].relative_to(tmp_path).as_posix(), r["text"], r["speaker"]) for r in found.rows] == [
        ("wav/ann/0.wav", "yes", "ann"),
        ("wav/ann/1.wav", "no", "ann"),
        ("wav/bob/0.wav", "yes", "bob"),
        ("wav/bob/1.wav", "no", "bob"),
    ]
    assert all(row["duration"] == 0.5 for row in found.rows)
    assert sorted(found.left_out) == [
        ("lost.txt", "text without a file beside it"),
        (str(Path("wav/ann/silent.wav")), "no text beside it"),
    ]


@pytest.mark.parametrize(
    ("names", "texts", "expected"),
    [
        (["3_jack_1", "4_jack_1", "3_ann_1", "4_ann_1"], "3434", ["jack", "jack", "ann", "ann"]),  # FSDD's
        (["a/1", "a/2", "b/1", "b/2"], "xyzx", ["a", "a", "b", "b"]),
        (["train/a/1", "test/b/1", "train/a/2", "test/b/2"], "xyzx", ["a", "b", "a", "b"]),
        (["take_1", "take_2", "take_3", "take_4"], "abcd", [None] * 4),  # one voice
        (["yes/1", "yes/2", "no/1", "no/2"], "yynn", [None] * 4),  # folders of words
        (["a1", "b2", "c3"], "abc", [None] * 3),
    ],
)
def test_who_speaks(names, texts, expected):
    assert list(speakers([Path(name + ".wav") for name in names], texts)) == expected


def test_a_manifest_and_a_folder_of_manifests(tmp_path):
    sound(tmp_path / "a.wav", 2)
    rows = [
        {"audio": "a.wav", "text": "one", "speaker": "x", "start": 0.25, "end": 1.0},
        {"audio": "gone.wav", "text": "two"},
        {"audio": "a.wav", "text": "three", "start": 1.5, "end": 9.0},
    ]
    write(tmp_path / "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    for found in (spoken(tmp_path), spoken(tmp_path / "train.jsonl")):
        assert [(r["text"], r["start"], r["end"], r["duration"]) for r in found.rows] == [
            ("one", 0.25, 1.0, 0.75)
        ]
        assert sorted(reason.partition(" (")[0] for _, reason in found.left_out) == [
            "missing file",
            "part that is not in its recording",
        ]
    assert spoken(tmp_path).rows[0]["split"] == "train"


def test_a_folder_without_a_layout_gives_one_sentence(tmp_path):
    sound(tmp_path / "a.wav")
    write(tmp_path / "notes.doc", "…")
    with pytest.raises(InputError) as said:
        spoken(tmp_path)
    assert "fits no layout; looked for manifests" in str(said.value)
    assert "1 .wav" in str(said.value) and "1 .doc" in str(said.value) and "\n" not in str(said.value)
    with pytest.raises(InputError, match="there is no such folder"):
        spoken(tmp_path / "absent")


def test_damaged_recordings_are_left_out(tmp_path):
    sound(tmp_path / "a.wav")
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "b.wav", "this is no sound")
    write(tmp_path / "b.txt", "b")
    found = spoken(tmp_path)
    assert [row["text"] for row in found.rows] == ["a"]
    assert "b.wav" in found.left_out[0][0] and found.left_out[0][1] == "cannot be read"
    assert found.faults()[0].startswith("1 × cannot be read: ")


def test_what_belongs_together():
    assert group_of({"speaker": "a", "audio": "b"}) == "a"
    assert group_of({"image": "b", "page": "p"}) == "p"
    assert group_of({"audio": "b"}) is None
    assert group_of({"audio": "b", "start": 1.0}) == "b"
