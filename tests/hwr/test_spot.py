"""`hwr spot` as a user calls it, with tiny untrained models; what a whole word is."""

import json

import numpy as np
import pytest

from carousel.common.ctc.spotting import Detection
from carousel.common.decoding import Symbol
from carousel.common.decoding.align import spell
from carousel.common.spotting import APART, Finder, bounds, occurrences
from carousel.common.text.alphabet import Alphabet
from carousel.hwr.cli import main
from carousel.hwr.line import Line, symbol_boxes
from tests.hwr.test_cli import INKML, STROKES, lines, models  # noqa: F401
from tests.tiny import ship, tiny_model


def run(capsys, *words) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def spotted(out: str) -> list[dict]:
    return [item for line in out.splitlines() for item in json.loads(line)["spotted"]]


def test_options_change_what_is_found_and_boxes_stand_in_the_picture(models, lines, tmp_path, capsys):  # noqa: F811
    base = ["a,b ,a", lines / "line.png", "--model", models["image"], "--format", "json"]
    status, out, err = run(capsys, "spot", *base, "--threshold", "0.01", "--inside")
    inside = spotted(out)
    assert (status, err) == (0, "") and {item["word"] for item in inside} == {"a", "b"}
    for item in inside:
        left, top, right, bottom = item["box"]
        assert 0 <= left <= right < 330 and (top, bottom) == (0, 60) and 0.01 <= item["score"] <= 1
    bounded = spotted(run(capsys, "spot", *base, "--threshold", "0.01")[1])
    certain = spotted(run(capsys, "spot", *base, "--threshold", "1", "--inside")[1])
    default = spotted(run(capsys, "spot", *base, "--inside")[1])
    assert len(bounded) < len(inside) and len(certain) <= len(default) < len(inside)
    (tmp_path / "words.txt").write_text("a\n\nb\n")
    assert (
        spotted(run(capsys, "spot", "--words", tmp_path / "words.txt", *base[1:], "--inside")[1]) == default
    )
    header, *rows = run(capsys, "spot", *base[:-1], "tsv", "--inside")[1].splitlines()
    assert header.split("\t")[-1] == "text"
    assert [[float(x) for x in row.split("\t")[:4]] for row in rows] == [item["box"] for item in default]
    assert run(capsys, "spot", *base[:-1], "txt", "--inside")[1].count("(") == len(default)


def test_what_was_recognised_is_spotted_in_the_boxes_of_align(models, lines, capsys):  # noqa: F811
    base = [lines / "line.png", "--model", models["image"], "--format", "json"]
    (read,) = map(json.loads, run(capsys, "recognise", *base, "--decoder", "greedy")[1].splitlines())
    word = next(word for word in read["words"] if [w["text"] for w in read["words"]].count(word["text"]) == 1)
    (found,) = spotted(run(capsys, "spot", word["text"], *base, "--threshold", "1")[1])
    assert found["score"] == 1.0 and found["box"] == word["box"]


def test_ink_and_pictures_mix_and_ink_drawn_for_a_model_of_images_has_no_box(
    lines,  # noqa: F811
    tmp_path,
    capsys,
    monkeypatch,
):
    for domain in ("image", "ink"):
        tiny_model(tmp_path / "shipped" / f"{domain}.safetensors", domain, default=True)
    ship(monkeypatch, "hwr", models=tmp_path / "shipped")
    (lines / "word.inkml").write_text(INKML)
    words = ["spot", "a,b,c,d,e", lines, "--threshold", "0.01", "--inside", "--format", "json"]
    status, out, err = run(capsys, *words)
    found = {row["file"].rpartition("/")[2]: row for row in map(json.loads, out.splitlines())}
    assert (status, err) == (0, "") and found["word.json"]["spotted"] == found["word.inkml"]["spotted"]
    assert found["line.png"]["model"] == "image" and found["word.json"]["model"] == "ink"
    xs, ys = (np.concatenate([np.array(stroke)[i::2] for stroke in STROKES]) for i in (0, 1))
    for item in found["word.json"]["spotted"]:
        left, top, right, bottom = item["box"]
        assert xs.min() <= left <= right <= xs.max() and ys.min() <= top <= bottom <= ys.max()
    words[2] = lines / "word.json"
    drawn = spotted(run(capsys, *words, "--model", tmp_path / "shipped" / "image.safetensors")[1])
    assert drawn and all(item["box"] is None for item in drawn)
    (table,) = {line[:4] for line in run(capsys, *words[:-1], "tsv", "--model",
                tmp_path / "shipped" / "image.safetensors")[1].splitlines()[1:]}  # fmt: skip
    assert table == "\t" * 4


def test_tune_counts_lines_and_draws(models, lines, tmp_path, capsys):  # noqa: F811
    rows = [{"image": "line.png", "text": "bad cab"}, {"image": "sub/line.jpg", "text": "cab, Cab"}]
    (lines / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["spot", "cab,ba", "--model", models["image"], "--tune", lines / "all.jsonl", "--format", "json"]
    status, out, err = run(capsys, *words, "--roc", tmp_path / "roc.png")
    best = json.loads(out)
    assert (status, err) == (0, "") and (tmp_path / "roc.png").read_bytes()[:4] == b"\x89PNG"
    # the alphabet has small letters only, and no comma
    assert best["references"] == 3 and best["lines"] == 2 and 0 <= best["average_precision"] <= 1
    rate = best["false_alarms"] / (2 * 2 / 1000)
    assert best["false_alarms_per_keyword_and_1000_lines"] == pytest.approx(rate)
    inside = json.loads(run(capsys, *words, "--inside")[1])
    assert inside["references"] == 4  # ba in bad
    assert f"use it with --threshold {best['threshold']}" in run(capsys, *words[:-2])[1]
    status, out, err = run(capsys, "spot", "h", *words[2:])
    assert (status, out) == (1, "") and "none of the words is in its texts" in err


def test_samples_of_another_kind_are_named_and_left_out(models, lines, capsys):  # noqa: F811
    rows = [{"image": "line.png", "text": "bad"}, {"audio": "x.wav", "text": "bad"}]
    (lines / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words in (["align", lines / "all.jsonl"], ["spot", "bad", "--tune", lines / "all.jsonl"]):
        status, out, err = run(capsys, *words, "--model", models["image"])
        assert status == 1 and out and err.count("\n") == 1 and 'neither "image" nor "strokes"' in err
    (lines / "ink.jsonl").write_text(json.dumps({"strokes": STROKES, "text": "bad"}) + "\n")
    words = ["spot", "bad", "--tune", lines / "ink.jsonl", "--model", models["ink"], "--format", "json"]
    assert json.loads(run(capsys, *words, "--threshold", "0")[1])["references"] == 1


def test_words_that_cannot_be_written_are_told_once(models, lines, capsys):  # noqa: F811
    status, out, err = run(capsys, "spot", "a,xyz", lines, "--model", models["image"])
    assert (status, out, err.count("\n")) == (1, "", 1) and "'x' (U+0078)" in err


@pytest.mark.parametrize(
    "words",
    [
        ["spot"],
        ["spot", "a"],
        ["spot", __file__, "a.png"],
        ["spot", "a", "a.png", "--roc", "a.png"],
        ["spot", "a", "a.png", "--tune", "a.jsonl"],
        ["spot", "a", "--tune", "a.jsonl", "--format", "tsv"],
        ["spot", "a.png", "--words", "missing.txt"],
    ],
)
def test_wrong_usage_is_status_2_and_one_line(words, capsys):
    status, out, err = run(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith("hwr: ")


# --- what is a whole word ---


@pytest.mark.parametrize(
    ("word", "text", "whole", "inside"),
    [
        ("eau", "l'eau, bateau", [(2, 4)], [(2, 4), (10, 12)]),
        ("l'eau", "l'eau l eau", [(0, 4)], [(0, 4)]),
        ("Eau", "eau Eau", [(4, 6)], [(4, 6)]),
        ("a b", "a b a b", [(0, 2), (4, 6)], [(0, 2), (4, 6)]),
        ("b", "a", [], []),
    ],
)
def test_words_end_at_anything_but_letters_digits_and_marks(word, text, whole, inside):
    alphabet = Alphabet(" ',Eabetul2\u0301")
    spelled = [spell(part, alphabet) for part in (word, text)]
    parting = bounds(alphabet, "")
    assert alphabet.decode(parting) == " '," and alphabet.decode(bounds(alphabet, "'")) == " ,"
    assert occurrences(*spelled, {APART, *parting}) == whole and occurrences(*spelled, None) == inside


def test_without_a_space_in_the_alphabet_texts_still_tell_words():
    spelled = [spell(part, Alphabet("ehnop")) for part in ("one", "phone one")]
    assert occurrences(*spelled, {APART}) == [(6, 8)] and len(occurrences(*spelled, None)) == 2


def test_a_word_before_a_comma_is_found_and_its_box_ends_half_way_to_it():
    alphabet = Alphabet(" ,abz")
    text = "--a-b--,--"
    rows = np.full((len(text), len(alphabet)), 0.001)
    rows[np.arange(len(text)), [("-" + "".join(alphabet.symbols)).index(c) for c in text]] = 0.995
    places = np.stack([np.arange(20), np.zeros(20)], axis=1)
    model = type("M", (), {"alphabet": alphabet, "stride": 2})()
    line = Line(np.zeros((20, 1)), places, height=30).searched([np.log(rows)], model)
    (found,) = Finder(["ab"], "", inside=False)(line, 0.9)
    written = line.reaches(spell("ab,", alphabet))
    assert (found.start, found.end) == (written[0][0], written[1][1]) == (0, 12)
    assert found.box == (0, 0, 11, 30)
    boxes = symbol_boxes([Symbol("ab", 2, 5, 1.0), Symbol(",", 7, 8, 1.0)], line.prepared, 2)
    assert boxes[0] == found.box
    assert line.place(Detection(7, 8, 7, 1.0))[2] == boxes[1]
    assert Finder(["a"], "", inside=False)(line, 0.9) == []
    assert len(Finder(["a"], "", inside=True)(line, 0.9)) == 1
