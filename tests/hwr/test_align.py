"""`hwr align` as a user calls it, with tiny untrained models."""

import json

import pytest

from carousel.hwr.cli import main
from tests.hwr.test_cli import INKML, STROKES, lines, models  # noqa: F401
from tests.tiny import ship, tiny_model

WORD = "bad cab"


def run(capsys, *words) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def test_boxes_stand_in_the_picture_in_the_order_of_the_text(models, lines, capsys):  # noqa: F811
    words = ["align", lines / "line.png", "--text", WORD, "--model", models["image"]]
    status, out, err = run(capsys, *words)
    found = json.loads(out)
    assert (status, err, found["text"], found["domain"]) == (0, "", WORD, "image")
    boxes = [symbol["box"] for symbol in found["symbols"]]
    assert len(boxes) == len(WORD) and all(0 <= box[0] <= box[2] < 330 and box[3] == 60 for box in boxes)
    assert [box[0] for box in boxes] == sorted(box[0] for box in boxes)
    frames = [frame for symbol in found["symbols"] for frame in symbol["frames"]]
    assert frames == sorted(frames) and found["score"] < found["score_per_frame"] < 0
    header, *rows = (line.split("\t") for line in run(capsys, *words, "--format", "tsv")[1].splitlines())
    assert header[-1] == "text" and [row[-1] for row in rows] == ["bad", "cab"]
    assert [[float(x) for x in row[:4]] for row in rows] == [word["box"] for word in found["words"]]


def test_what_was_recognised_is_aligned_in_the_same_boxes(models, lines, capsys):  # noqa: F811
    words = [lines / "line.png", "--model", models["image"], "--format", "json"]
    read = json.loads(run(capsys, "recognise", *words, "--decoder", "greedy")[1])
    found = json.loads(run(capsys, "align", *words, "--text", read["text"])[1])
    assert "  " not in read["text"] and read["words"] == found["words"]


def test_a_folder_and_a_manifest_mix_ink_and_pictures(lines, tmp_path, capsys, monkeypatch):  # noqa: F811
    for domain in ("image", "ink"):
        tiny_model(tmp_path / "shipped" / f"{domain}.safetensors", domain, default=True)
    ship(monkeypatch, "hwr", models=tmp_path / "shipped")
    (lines / "line.gt.txt").write_text("bad")
    (lines / "word.txt").write_text("cab")
    (lines / "word.inkml").write_text(INKML)
    status, out, err = run(capsys, "align", lines)
    found = {row["file"].rpartition("/")[2]: row for row in map(json.loads, out.splitlines())}
    assert status == 1 and err.count("\n") == 1 and "sub/line.jpg" in err and "line.txt or" in err
    assert {name: (row["text"], row["domain"]) for name, row in found.items()} == {
        "line.png": ("bad", "image"),
        "word.inkml": ("cab", "ink"),
        "word.json": ("cab", "ink"),
    }
    rows = [{"image": "line.png", "text": "bad"}, {"strokes": STROKES, "text": "cab"}]
    (lines / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, _ = run(capsys, "align", lines / "all.jsonl", "--output", tmp_path / "out")
    picture, ink = (json.loads((tmp_path / "out" / name).read_text()) for name in ("line.json", "all-2.json"))
    assert status == 0 and picture["words"] == found["line.png"]["words"]
    assert ink["words"] == found["word.json"]["words"] and ink["file"].endswith("all.jsonl:2")


def test_a_text_that_cannot_be_aligned_is_one_sentence(models, lines, capsys):  # noqa: F811
    words = ["align", lines / "line.png", "--model", models["image"], "--text"]
    status, out, err = run(capsys, *words, "b" * 300)
    assert (status, out, err.count("\n")) == (1, "", 1) and "at least 599 output frames" in err
    status, out, err = run(capsys, *words, "Bad.")
    assert (status, out) == (1, "") and "'.' (U+002E)" in err
    status, out, err = run(capsys, *words, "Bad.", "--skip-unknown")
    assert status == 0 and json.loads(out)["text"] == "Bad." and "passed over '.' (U+002E)" in err


@pytest.mark.parametrize(
    "words", [["align", "a.png", "b.png", "--text", "a"], ["align", "a.jsonl", "--text", "a"]]
)
def test_one_text_for_several_is_wrong_usage(words, capsys):
    status, out, err = run(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
