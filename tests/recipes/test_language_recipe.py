"""Texts that recipes/language prepares."""

import lzma
from collections import Counter
from pathlib import Path

import pytest

from carousel.recipes.language.prepare import WORD
from tests.recipes.command import prepare

LINES = [f"Line {n},  d'un été long-temps (no. {n})." for n in range(100)]


def test_the_last_lines_are_for_valid(tmp_path: Path):
    with lzma.open(tmp_path / "text.xz", "wt", encoding="utf-8") as file:
        file.write("\n\n".join(LINES))
    assert prepare("language", tmp_path / "text.xz", tmp_path / "out", "--valid", "0.1") == 0
    parts = [(tmp_path / "out" / f"{name}.txt").read_text().splitlines() for name in ("train", "valid")]
    assert [len(part) for part in parts] == [90, 10]
    assert parts[0] + parts[1] == [" ".join(line.split()) for line in LINES]


def test_words_stand_alone_in_another_order(tmp_path: Path):
    (tmp_path / "text.txt").write_text("\n".join(LINES))
    assert prepare("language", tmp_path / "text.txt", tmp_path / "out", "--words") == 0
    words = (tmp_path / "out" / "train.txt").read_text().splitlines()
    expected = [word for line in LINES[:98] for word in WORD.findall(line)]
    assert Counter(words) == Counter(expected) and words != expected
    assert set(words) == {"Line", "d'un", "été", "long-temps", "no"}
    assert prepare("language", tmp_path / "text.txt", tmp_path / "out", "--words", "--most", "7") == 0
    assert (tmp_path / "out" / "train.txt").read_text().splitlines() == words[:7]


def test_a_text_too_short_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "text.txt").write_text("one line\n")
    assert prepare("language", tmp_path / "text.txt", tmp_path / "out") == 1
    assert "too few to be split" in capsys.readouterr().err and not (tmp_path / "out").exists()
