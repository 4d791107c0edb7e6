"""From corpora of pen strokes, in small copies of their published layouts, to manifests."""

import gzip
import itertools
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml

from carousel.common.cli.main import parser
from carousel.common.cli.prepare import run
from carousel.common.data.manifest import read_manifest, write_manifest
from carousel.hwr.cli import PROGRAM
from carousel.recipes.iam_ondb import prepare as iam_ondb
from carousel.recipes.ink import fault
from carousel.recipes.pendigits import prepare as pendigits
from carousel.recipes.unipen_words import vary
from tests.conftest import corpus
from tests.recipes.command import prepare
from tests.tiny import tiny_model

INK = [[0, 0, 10, 40, 20, 0, 30, 40, 40, 0, 50, 40, 60, 0, 70, 40], [20, -30]]


def write(folder: Path, **splits: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def row(text: str = "in", writer: str = "a", strokes: list | None = None, **extra) -> dict:
    return {"text": text, "writer": writer, "strokes": INK if strokes is None else strokes, **extra}


def rows(path: Path) -> list:
    return list(read_manifest(path))


@pytest.mark.parametrize("name", ["unipen_words", "unipen_lines", "pendigits"])
def test_manifests_keep_what_can_be_used(tmp_path, name, capsys):
    good = row(seen_label=True, quality="OK", id="1/a/x.dat#0")
    short = row("Houston", strokes=[[0, 0, 1, 1]])
    folder = write(
        tmp_path / "in",
        train=[good, row(" "), row(strokes=[]), short, row("a\tb")],
        valid=[row(writer="b")],
        test=[row(writer="c"), short | {"writer": "c"}],
    )
    assert prepare(name, folder, tmp_path / "out") == 0
    train = rows(tmp_path / "out" / "train.jsonl.gz")
    assert [sample.text for sample in train] == ["in"]
    assert train[0].group == "a"
    assert train[0].extra == {"seen_label": True, "quality": "OK", "id": "1/a/x.dat#0"}
    for found, stroke in zip(train[0].strokes, INK, strict=True):
        np.testing.assert_array_equal(found.reshape(-1), stroke)
    assert [sample.text for sample in rows(tmp_path / "out" / "test.jsonl.gz")] == ["in", "Houston"]
    report = capsys.readouterr().out
    assert "1 samples, 1 writers, 2 characters" in report
    for reason in ("empty text", "no ink", "less ink", "text with a control character"):
        assert f"1 × {reason}" in report
    with gzip.open(tmp_path / "out" / "train.jsonl.gz", "rt") as file:
        assert json.loads(file.readline())["strokes"] == INK  # whole numbers stay whole


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({}, "train.jsonl.gz: is missing; CORPUS is the folder that holds train.jsonl.gz, valid"),
        ({"train": [row()], "valid": [row(writer="b")]}, "test.jsonl.gz: is missing; CORPUS"),
        ({"train": [row()], "valid": [row()], "test": [row(writer="c")]}, "writer a is in train as well"),
        (
            {"train": [row()], "valid": [row(strokes=[])], "test": [row(writer="c")]},
            "no sample of this split",
        ),
    ],
)
def test_corpora_that_are_not_whole_are_refused(tmp_path, splits, message, capsys):
    folder = write(tmp_path / "in", **splits)
    assert prepare("unipen_words", folder, tmp_path / "out") == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1 and "hwr prepare" not in errors
    assert not (tmp_path / "out").exists()


def test_pendigits_names_both_forms_of_the_corpus_where_there_is_neither(tmp_path, capsys):
    assert prepare("pendigits", tmp_path, tmp_path / "out") == 1
    errors = capsys.readouterr().err
    assert "neither pendigits-orig.tra, pendigits-orig.tes nor train.jsonl.gz" in errors
    assert errors.startswith(f"hwr: {tmp_path}: ") and errors.count("\n") == 1


def test_faults():
    stroke = np.array([[0.0, 0.0], [10.0, 30.0]])
    assert fault("l", [stroke]) is None
    assert fault(".", [stroke[:1]]) is None
    assert "finite" in str(fault("l", [stroke * np.nan]))
    assert fault("Mississippi", [stroke], strict=False) is None
    assert fault("Mississippi", [stroke]) is not None


def test_the_corpus_at_hand_has_no_unusable_test_sample():
    folder = corpus("unipen-words")
    samples = itertools.islice(read_manifest(folder / "test.jsonl.gz"), 0, 2000, 10)
    assert not [sample.text for sample in samples if fault(sample.text, sample.strokes, strict=False)]


@pytest.mark.parametrize("name", ["unipen_words", "unipen_lines", "pendigits", "iam_ondb"])
def test_recipes_read_what_prepare_writes(name):
    folder = resources.files("recipes") / name
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert recipe["domain"] == "ink"
    for paths in recipe["data"].values():
        for path in [paths] if isinstance(paths, str) else paths:
            assert path.startswith("data/unipen_" if name.startswith("unipen") else f"data/{name}/")
            assert path.endswith(".jsonl.gz")
    assert f"data/{name}/test" in recipe["data"]["test"]
    assert parser(PROGRAM).parse_args(["prepare", name, "corpus"]).output == Path("data", name)
    assert f"recipe={name}" in (folder / "README.md").read_text()


# Pen digits


def uci(writers: range, digits: int, seed: int) -> str:
    """Text like pendigits-orig.tra: each digit d is a stroke of d + 2 points, and 4 has a second stroke."""
    rng = np.random.default_rng(seed)
    lines = [".INCLUDE dene.doc", '.LEXICON "0" "1"', ".HIERARCHY DIGIT"]
    for writer in writers:
        for index in range(digits):
            digit = int(rng.integers(10))
            lines += [f'.SEGMENT DIGIT 0-1 ? "{digit}"', f".COMMENT  {digit} {writer} {index}"]
            for strokes in range(2 if digit == 4 else 1):
                points = rng.integers(100, 400, size=(digit + 2 + strokes, 2))
                lines += [".PEN_DOWN", *(f" {x} {y}" for x, y in points), ".PEN_UP", ".DT 100"]
    return "\n".join(lines) + "\n"


@pytest.fixture
def digits(tmp_path):
    folder = tmp_path / "uci"
    folder.mkdir()
    (folder / "pendigits-orig.tra").write_text(uci(range(1, 13), 25, 1))
    (folder / "pendigits-orig.tes").write_text(uci(range(1, 4), 25, 2))
    return folder


def test_digit_strings_use_each_digit_once_in_order(digits, tmp_path):
    assert prepare("pendigits", digits, tmp_path / "out") == 0
    splits = {name: rows(tmp_path / "out" / f"{name}.jsonl.gz") for name in ("train", "valid", "test")}
    writers = {name: {sample.group for sample in samples} for name, samples in splits.items()}
    assert [len(writers[name]) for name in ("train", "valid", "test")] == [10, 2, 3]
    assert writers["test"] == {"tes1", "tes2", "tes3"}  # not the writers 1 to 3 of the training part
    originals = pendigits.read_digits(digits / "pendigits-orig.tes")
    for writer, inks in originals.items():
        samples = [sample for sample in splits["test"] if sample.group == f"tes{writer}"]
        assert "".join(digit for digit, _ in inks).startswith("".join(sample.text for sample in samples))
        assert sum(len(sample.text) for sample in samples) > 25 - pendigits.SHORTEST
        composed = [stroke for sample in samples for stroke in sample.strokes]
        single = [stroke for _, ink in inks for stroke in ink]
        for a, b in zip(composed, single, strict=False):
            np.testing.assert_allclose(np.diff(a, axis=0), np.diff(b, axis=0))  # moved, not changed
    for sample in splits["train"]:
        assert pendigits.SHORTEST <= len(sample.text) <= pendigits.LONGEST


def test_composed_digits_stand_beside_each_other(digits, tmp_path):
    first = tmp_path / "a"
    assert prepare("pendigits", digits, first) == 0
    for sample in rows(first / "test.jsonl.gz"):
        strokes = iter(sample.strokes)
        ends = -np.inf
        for digit in sample.text:
            ink = np.concatenate([next(strokes) for _ in range(2 if digit == "4" else 1)])
            assert ink[:, 0].min() > ends
            ends = ink[:, 0].max()
    assert prepare("pendigits", digits, tmp_path / "b") == 0
    again = [
        (sample.text, np.concatenate(sample.strokes)) for sample in rows(tmp_path / "b" / "test.jsonl.gz")
    ]
    for sample, (text, points) in zip(rows(first / "test.jsonl.gz"), again, strict=True):
        assert sample.text == text
        np.testing.assert_array_equal(np.concatenate(sample.strokes), points)


def test_damaged_digit_files_are_named(digits, tmp_path, capsys):
    def error() -> str:
        assert prepare("pendigits", digits, tmp_path / "out") == 1
        return capsys.readouterr().err

    path = digits / "pendigits-orig.tes"
    path.write_text(path.read_text().replace(".PEN_DOWN\n", ".PEN_DOWN\n7 x\n", 1))
    assert "pendigits-orig.tes: the digit at line 4 is damaged" in error()
    path.write_text("nothing")
    assert "holds no digit" in error()
    path.unlink()
    assert "is missing" in error()
    (digits / "pendigits-orig.tra").rename(digits / "pendigits-orig.tra.Z")
    assert "gzip -d pendigits-orig.tra.Z" in error()


# IAM-OnDB


def whiteboard(x: int) -> str:
    points = "".join(f'<Point x="{x + 10 * i}" y="{1000 + 40 * (i % 2)}" time="{i}.0"/>' for i in range(60))
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<WhiteboardCaptureSession>'
        '<WhiteboardDescription><SensorLocation corner="top_left"/></WhiteboardDescription>'
        f'<StrokeSet><Stroke colour="black" start_time="0" end_time="9">{points}</Stroke></StrokeSet>'
        "</WhiteboardCaptureSession>\n"
    )


@pytest.fixture
def whiteboards(tmp_path):
    """Four forms of two lines each, in the published folders."""
    folder = tmp_path / "iam"
    for number, form in enumerate(("a01-000u", "a01-000x", "b02-117", "h03-055z")):
        place = Path(form[:3]) / form[:7]
        for top in ("lineStrokes", "ascii"):
            (folder / top / place).mkdir(parents=True, exist_ok=True)
        for line in (1, 2):
            (folder / "lineStrokes" / place / f"{form}-0{line}.xml").write_text(
                whiteboard(100 * number + line)
            )
        text = f"OCR:\n\nmisread\nlines\n\nCSR:\n\nFirst line of {form}\nSecond  line, form {number}\n"
        (folder / "ascii" / place / f"{form}.txt").write_text(text)
    (folder / "task1").mkdir()
    for name, form in zip(
        iam_ondb.LISTS.values(), ("a01-000u", "a01-000x", "b02-117", "h03-055z"), strict=True
    ):
        (folder / "task1" / name).write_text(f" {form}\n")
    return folder


def test_iam_ondb_in_its_published_layout(whiteboards, tmp_path):
    original = whiteboards / "original" / "a01" / "a01-000"
    original.mkdir(parents=True)
    form = '<General><Form id="a01-000u" writerID="10076"/></General>'
    (original / "strokesu.xml").write_text(f"<WhiteboardCaptureSession>{form}</WhiteboardCaptureSession>")
    assert prepare("iam_ondb", whiteboards, tmp_path / "out") == 0
    train, test = (rows(tmp_path / "out" / f"{name}.jsonl.gz") for name in ("train", "test"))
    assert [sample.text for sample in train] == ["First line of a01-000u", "Second line, form 0"]
    assert [sample.extra["id"] for sample in train] == ["a01-000u-01", "a01-000u-02"]
    assert {sample.group for sample in train} == {"10076"}
    assert {sample.group for sample in test} == {"h03-055z"}  # no original: the form stands for its writer
    assert train[1].strokes[0][:2].tolist() == [[2, 1000], [12, 1040]]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "train.jsonl.gz",
        "valid.jsonl.gz",
        "second_valid.jsonl.gz",
        "test.jsonl.gz",
    }


def test_iam_ondb_counts_lines_without_text(whiteboards, tmp_path, capsys):
    path = whiteboards / "ascii" / "b02" / "b02-117" / "b02-117.txt"
    path.write_text(path.read_text().replace("Second  line, form 2\n", ""))
    (whiteboards / "task1" / "trainset.txt").write_text("a01-000u\na01-999u\n")
    assert prepare("iam_ondb", whiteboards, tmp_path / "out") == 0
    errors = capsys.readouterr().err
    assert "1 × line of testset_t.txt with strokes and no text" in errors
    assert "1 × form of trainset.txt without text or strokes" in errors


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("task1/trainset.txt", None, "trainset.txt: is missing"),
        ("task1/trainset.txt", "../../secret\n", "not the name of a form"),
        ("ascii/a01/a01-000/a01-000u.txt", "OCR:\n\nx\n", "no heading CSR:"),
        ("lineStrokes/a01/a01-000/a01-000u-01.xml", "<Whiteboard", "a01-000u-01.xml: is not well-formed"),
    ],
)
def test_iam_ondb_that_is_not_whole(whiteboards, tmp_path, path, text, message, capsys):
    if text is None:
        (whiteboards / path).unlink()
    else:
        (whiteboards / path).write_text(text)
    assert prepare("iam_ondb", whiteboards, tmp_path / "out") == 1
    assert message in capsys.readouterr().err


def test_iam_ondb_needs_its_folders(tmp_path, capsys):
    assert prepare("iam_ondb", tmp_path, tmp_path / "out") == 1
    assert "lineStrokes: is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(vary.CHANGES))
def test_changes_of_ink_keep_what_is_written(name):
    rng = np.random.default_rng(0)
    strokes = [rng.normal(size=(int(n), 2)) for n in rng.integers(1, 9, 7)]
    before = [stroke.copy() for stroke in strokes]
    made = vary.CHANGES[name](strokes, np.random.default_rng(1))
    assert all((a == b).all() for a, b in zip(strokes, before, strict=True))
    assert len(made) == len(strokes)
    if name != "every third point":
        assert sorted(map(len, made)) == sorted(map(len, strokes))


def test_ink_is_turned_and_slanted_as_it_is_seen():
    right = [np.array([[0.0, 0.0], [1.0, 0.0]])]
    (turned,) = vary.turned(90)(right, None)
    np.testing.assert_allclose(turned[1], [0, -1], atol=1e-12)  # up: y grows downwards
    up = [np.array([[0.0, 0.0], [0.0, -1.0]])]
    (slanted,) = vary.slanted(45)(up, None)
    np.testing.assert_allclose(slanted[1], [1, -1], atol=1e-12)
    (back,) = vary.turned(-10)(vary.turned(10)(right, None), None)
    np.testing.assert_allclose(back, right[0], atol=1e-12)


def test_changes_are_shown_with_their_rates(tmp_path, capsys):
    model = tiny_model(tmp_path / "ink.safetensors", "ink")
    strokes = [[0, 0, 5, 20, 10, 0], [20, 0, 22, 15]]
    write_manifest(tmp_path / "m.jsonl", [{"strokes": strokes, "text": "ab"}] * 3)
    words = [str(model), str(tmp_path / "m.jsonl"), "--count", "2"]
    assert run(vary, words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(vary.CHANGES)
    rates = dict(zip(vary.CHANGES, (line.split("%")[0].split()[-1] for line in lines), strict=True))
    assert rates["as written"] == rates["thirty times the size"] == rates["a tenth of the size"]
