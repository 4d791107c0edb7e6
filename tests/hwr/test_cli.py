"""The command `hwr` as a user calls it, with tiny untrained models in real model files."""

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from carousel.common.cli.main import parser
from carousel.common.decoding import Symbol
from carousel.hwr.cli import PROGRAM, main
from carousel.hwr.line import Line, symbol_boxes
from tests.hwr.drawn_pages import written
from tests.tiny import ship, tiny_model, with_features

STROKES = [[10, 50, 12, 20, 30, 18, 32, 52], [50, 20, 48, 50, 70, 50], [90, 20, 90, 50], [85, 30, 100, 30]]
INKML = """<ink xmlns="http://www.w3.org/2003/InkML"><trace>10 50, 12 20, 30 18, 32 52</trace>
<trace>50 20, 48 50, 70 50</trace><trace>90 20, 90 50</trace><trace>85 30, 100 30</trace></ink>"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        domain: str(tiny_model(folder / f"{domain}.safetensors", domain))
        for domain in ("image", "ink", "speech")
    }


@pytest.fixture
def lines(tmp_path):
    """line.png, sub/line.jpg and word.json below a folder."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name, shift in (("line.png", 0), ("sub/line.jpg", 7)):
        picture = Image.new("L", (320, 60), 255)
        pen = ImageDraw.Draw(picture)
        for x in range(20, 300, 25):
            pen.line([(x, 45), (x + 8, 15 + shift), (x + 14, 40 - shift), (x + 20, 20)], fill=0, width=3)
        picture.save(folder / name)
    (folder / "word.json").write_text(json.dumps({"strokes": STROKES}))
    return folder


def run(capsys, *words) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def test_help_loads_nothing_heavy():
    heavy = {"torch", "numpy", "PIL", "scipy", "matplotlib", "hydra"}
    code = "import sys; from carousel.hwr import cli as c; c.command.parser(c.PROGRAM); "
    code += f"print({heavy} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


@pytest.mark.parametrize("command", ["train", "recognise", "evaluate", "models", "demo"])
def test_help_of_every_command_tells_defaults_and_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        parser(PROGRAM).parse_args([command, "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0 and f"hwr {command}" in out.split("examples:")[1]
    assert command == "train" or "default" in out or "--json" in out


def test_train_help_names_our_recipes(capsys):
    with pytest.raises(SystemExit):
        main(["train", "-h"])
    told = " ".join(capsys.readouterr().out.split())
    assert "recipe=NAME|FOLDER" in told and "one of htr_lines, iam, iam_ondb, language, mnist_strings" in told


def test_a_model_whose_features_are_not_its_networks_is_refused(models, lines, capsys):
    other = with_features(Path(models["image"]), height=32)
    status, out, err = run(capsys, "recognise", lines / "line.png", "--model", other)
    assert (status, out) == (1, "") and "32 numbers a frame, and its network takes 24" in err


def test_a_picture_prints_its_text_and_json_has_boxes_in_order(models, lines, capsys):
    status, out, err = run(capsys, "recognise", lines / "line.png", "--model", models["image"])
    assert (status, err) == (0, "") and out.strip()
    read = json.loads(
        run(capsys, "recognise", lines / "line.png", "--model", models["image"], "--format", "json")[1]
    )
    assert read["text"] == out.removesuffix("\n") and read["domain"] == "image" and read["model"] == "image"
    assert "".join(symbol["text"] for symbol in read["symbols"]) == read["text"]
    lefts = [symbol["box"][0] for symbol in read["symbols"]]
    assert lefts == sorted(lefts) and len(set(lefts)) == len(lefts)
    for item in read["symbols"] + read["words"]:
        left, top, right, bottom = item["box"]
        assert -10 <= left <= right <= 330 and (top, bottom) == (0, 60)


def test_ink_is_read_by_a_model_of_ink_with_boxes_in_its_coordinates(models, lines, capsys):
    status, out, _ = run(
        capsys, "recognise", lines / "word.json", "--model", models["ink"], "--format", "json"
    )
    read = json.loads(out)
    assert status == 0 and read["domain"] == "ink" and read["symbols"]
    for symbol in read["symbols"]:
        left, top, right, bottom = symbol["box"]
        assert 9 <= left <= right <= 101 and 17 <= top <= bottom <= 53


def test_ink_is_drawn_for_a_model_of_images(models, lines, capsys):
    status, out, _ = run(
        capsys, "recognise", lines / "word.json", "--model", models["image"], "--format", "json"
    )
    read = json.loads(out)
    assert status == 0 and read["text"] and all(symbol["box"] is None for symbol in read["symbols"])


def test_a_picture_for_a_model_of_ink_fails_and_the_ink_beside_it_is_read(models, lines, capsys):
    status, out, err = run(capsys, "recognise", lines, "--model", models["ink"])
    assert status == 1
    assert [line.split("\t")[0] for line in out.splitlines()] == [str(lines / "word.json")]
    assert len(err.splitlines()) == 2 and str(lines / "line.png") in err


def test_without_a_model_each_input_gets_the_default_of_its_kind(
    models, lines, capsys, monkeypatch, tmp_path
):
    shipped = tmp_path / "shipped"
    for name, domain, default in (("a", "image", False), ("b", "image", True), ("c", "ink", True)):
        tiny_model(shipped / f"{name}.safetensors", domain, seed=ord(name), default=default)
    ship(monkeypatch, "hwr", models=shipped)
    status, out, err = run(capsys, "recognise", lines, "--format", "json")
    found = {read["file"]: read["model"] for read in map(json.loads, out.splitlines())}
    assert (status, err) == (0, "")
    assert found == {
        str(lines / "line.png"): "b",
        str(lines / "sub/line.jpg"): "b",
        str(lines / "word.json"): "c",
    }
    assert list(found) == [str(lines / name) for name in ("line.png", "word.json", "sub/line.jpg")]
    named = run(capsys, "recognise", lines / "line.png", "--model", "a", "--format", "json")[1]
    assert json.loads(named)["model"] == "a"


@pytest.mark.parametrize("kind", ["png", "json", "inkml"])
def test_standard_input_is_told_by_its_first_bytes(kind, models, lines, capsys, monkeypatch):
    data = {
        "png": (lines / "line.png").read_bytes(),
        "json": (lines / "word.json").read_bytes(),
        "inkml": INKML.encode(),
    }[kind]
    path, model = (lines / "line.png", "image") if kind == "png" else (lines / "word.json", "ink")
    expected = run(capsys, "recognise", path, "--model", models[model])[1]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert run(capsys, "recognise", "-", "--model", models[model]) == (0, expected, "")


def test_a_suffix_that_says_nothing_leaves_it_to_the_first_bytes(models, lines, capsys):
    for name, model in (("line.png", "image"), ("word.json", "ink")):
        expected = run(capsys, "recognise", lines / name, "--model", models[model])[1]
        (lines / "upload").write_bytes((lines / name).read_bytes())
        assert run(capsys, "recognise", lines / "upload", "--model", models[model])[:2] == (0, expected)


@pytest.mark.parametrize("name", ["line.png", "word.json"])
def test_a_fifo_that_is_named_is_read_once(name, models, lines, tmp_path, capsys):
    model = models["image" if name == "line.png" else "ink"]
    expected = run(capsys, "recognise", lines / name, "--model", model)[1]
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes((lines / name).read_bytes()))
    writer.start()
    found = run(capsys, "recognise", tmp_path / "fifo", "--model", model)
    writer.join()
    assert found == (0, expected, "")


def test_a_fifo_in_a_folder_is_left_alone(models, lines, capsys):
    for name in ("a.png", "a.json", "a.xml"):
        os.mkfifo(lines / name)
    status, out, err = run(capsys, "recognise", lines)
    assert (status, err, len(out.splitlines())) == (0, "", 3)


def test_a_folder_gives_its_ink_that_ends_in_xml_and_no_other_xml(models, tmp_path, capsys):
    point = '<Point x="1" y="2"/><Point x="3" y="40"/><Point x="50" y="6"/>'
    board = f"<WhiteboardCaptureSession><StrokeSet><Stroke>{point}</Stroke></StrokeSet>"
    files = {
        "a01.xml": f'<?xml version="1.0"?>\n{board}</WhiteboardCaptureSession>',
        "b.XML": INKML,
        "page.xml": "<PcGts><Page/></PcGts>",
        "broken.xml": "<<",
        "empty.xml": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    status, out, err = run(capsys, "recognise", tmp_path, "--model", models["ink"])
    assert (status, err) == (0, "")
    assert [line.split("\t")[0] for line in out.splitlines()] == [
        str(tmp_path / n) for n in ("a01.xml", "b.XML")
    ]


def test_a_page_is_read_line_by_line_and_the_line_beside_it_too(models, lines, capsys):
    grey, drawn = written()
    Image.fromarray(np.pad(grey, 15)).save(lines / "page.png")
    words = ["recognise", lines / "page.png", lines / "line.png", "--model", models["image"]]
    status, out, err = run(capsys, *words)
    names = [row.split("\t")[0] for row in out.splitlines()]
    assert (status, err, names) == (0, "", [str(lines / "page.png")] * len(drawn) + [str(lines / "line.png")])
    status, out, _ = run(capsys, *words, "--format", "json")
    page, single = map(json.loads, out.splitlines())
    assert (page["width"], page["height"], "lines" in single) == (790, 730, False)
    tops = [min(y for _, y in row["polygon"]) for row in page["lines"]]
    assert np.abs(np.array(tops) - 15 - drawn[:, 1]).max() < 10
    boxes = [word["box"] for row in page["lines"] for word in row["words"]]
    assert all(90 < left < right < 700 and 80 < top < bottom < 620 for left, top, right, bottom in boxes)


def test_page_and_line_can_be_forced(models, lines, capsys):
    Image.fromarray(written()[0][:200]).save(lines / "two.png")  # of two lines
    asked = ["--format", "json", "--model", models["image"]]
    for layout, found in (("--line", None), ("--page", 2)):
        status, out, err = run(capsys, "recognise", lines / "two.png", layout, *asked)
        told = json.loads(out).get("lines")
        assert (status, err, told and len(told)) == (0, "", found)
    with pytest.raises(SystemExit) as stopped:
        run(capsys, "recognise", lines / "two.png", "--page", "--line")
    assert stopped.value.code == 2


def test_a_page_on_its_head_is_read_and_told(models, lines, capsys):
    Image.fromarray(written()[0][::-1, ::-1]).save(lines / "page.png")
    status, out, err = run(capsys, "recognise", lines / "page.png", "--model", models["image"])
    assert status == 0 and out.count("\n") == 8 and err.endswith("this page was turned by 180° to be read\n")


def test_a_page_without_writing_says_so(models, tmp_path, capsys):
    sheet = np.full((900, 700), 250, np.uint8)
    sheet[100::60, 60:640] = 90  # ruled
    Image.fromarray(sheet).save(tmp_path / "ruled.png")
    status, out, err = run(capsys, "recognise", tmp_path / "ruled.png", "--model", models["image"])
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"{tmp_path / 'ruled.png'}: no line of writing was found")


@pytest.mark.parametrize("command", ["recognise", "align", "spot"])
def test_what_was_read_is_drawn_over_lines_ink_and_samples(command, models, lines, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("carousel.hwr.plot.write_picture", lambda figure, path: drawn.append(figure))
    rows = [{"strokes": STROKES, "text": "ab"}, {"image": "line.png", "text": "ab"}]
    (lines / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("line.png", "word.json"):
        (lines / name).with_suffix(".txt").write_text("ab")
    model = ["--model", models["image"], "--line"]
    for name, kind in (("line.png", model), ("word.json", ["--model", models["ink"]])):
        words = [command, "a,b", str(lines / name), "--threshold", "0"]
        words = words if command == "spot" else [command, str(lines / name)]
        assert main([*words, *kind, "--plot", str(tmp_path / "p.png")]) == 0
    if command == "align":
        assert main(["align", str(lines / "m.jsonl"), "--plot", str(tmp_path / "p.png"), *model]) == 0
    for figure in drawn:
        (axes,) = figure.axes
        left, right = axes.get_xlim()
        assert axes.texts or axes.get_title().endswith("m.jsonl:1: ab")
        assert all(left <= text.get_position()[0] <= right for text in axes.texts)
        assert len(axes.patches) == len(axes.texts)
    assert len(drawn[0].axes[0].images) == 1  # the line
    assert len(drawn[1].axes[0].lines) == len(STROKES) + len(drawn[1].axes[0].texts)


def test_what_was_found_is_drawn_over_the_page(models, lines, tmp_path, capsys):
    Image.fromarray(written()[0]).save(lines / "page.png")
    words = ["--model", models["image"], "--plot"]
    page = ["recognise", lines / "page.png"]
    assert run(capsys, *page, *words, tmp_path / "found.png")[0] == 0
    assert Image.open(tmp_path / "found.png").size[1] > 1000
    assert run(capsys, *page, lines / "line.png", *words, tmp_path / "several.png")[0] == 0
    assert {p.name for p in tmp_path.glob("*.png")} == {
        "found.png",
        "several.page.png",
        "several.line.png",
    }
    status, _, err = run(capsys, *page, *words, tmp_path / "none" / "found.png")
    assert status == 1 and "found.png: the picture cannot be written" in err


def test_an_empty_name_is_wrong_usage(capsys):
    status, out, err = run(capsys, "recognise", "")
    assert (status, out, err.count("\n")) == (2, "", 1) and "empty name" in err


def test_every_bad_input_has_its_sentence_and_the_others_are_done(models, lines, tmp_path, capsys):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.png").write_bytes(b"")
    (bad / "cut.png").write_bytes((lines / "line.png").read_bytes()[:200])
    (bad / "text.jpg").write_text("no picture")
    Image.new("L", (200, 50), 255).save(bad / "blank.png")
    (bad / "broken.json").write_text('{"strokes": [[1, 2')
    (bad / "none.json").write_text('{"strokes": []}')
    names = ["empty.png", "cut.png", "text.jpg", "blank.png", "broken.json", "none.json", "missing.png"]
    status, out, err = run(
        capsys, "recognise", *(bad / name for name in names), lines / "line.png", "--model", models["image"]
    )
    assert status == 1 and len(out.splitlines()) == 1 and out.startswith(str(lines / "line.png"))
    said = err.splitlines()
    assert len(said) == len(names)
    for name, line in zip(names, said, strict=True):
        assert line.startswith(f"{bad / name}: ") and len(line) > len(str(bad / name)) + 8


def test_a_list_that_cannot_be_used_is_told_once(models, lines, tmp_path, capsys, monkeypatch):
    (tmp_path / "hot.txt").write_text("a\tmuch\n")
    for domain in ("image", "ink"):
        tiny_model(tmp_path / "shipped" / f"{domain}.safetensors", domain)
    ship(monkeypatch, "hwr", models=tmp_path / "shipped")
    for chosen in (["--model", models["image"]], []):
        status, out, err = run(capsys, "recognise", lines, "--hotwords", tmp_path / "hot.txt", *chosen)
        assert (status, out, err.count("\n")) == (1, "", 1) and "hot.txt: line 1 is not WORD" in err


def test_a_model_of_speech_is_refused_in_one_sentence(models, lines, capsys):
    status, out, err = run(capsys, "recognise", lines, "--model", models["speech"])
    assert (status, out, err.count("\n")) == (1, "", 1) and "recordings" in err


def test_evaluate_reads_images_and_strokes_of_manifests(models, lines, tmp_path, capsys):
    manifest = tmp_path / "test.jsonl"
    rows = [
        {"image": "in/line.png", "text": "abc", "writer": "w"},
        {"strokes": STROKES, "text": "de", "writer": "v"},
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, _ = run(capsys, "evaluate", manifest, "--model", models["image"], "--json", "--by", "writer")
    report = json.loads(out)
    assert status == 0 and report["items"] == 2 and report["chars"]["total"] == 5
    assert {writer: group["items"] for writer, group in report["by"]["writer"].items()} == {"v": 1, "w": 1}
    status, out, err = run(capsys, "evaluate", manifest, "--model", models["ink"], "--json")
    assert status == 1 and json.loads(out)["items"] == 1 and "line.png" in err
    read = run(capsys, "recognise", lines / "line.png", "--model", models["image"])[1].strip()
    manifest.write_text(json.dumps({"image": "in/line.png", "text": read.upper()}) + "\n")
    words = ("evaluate", manifest, "--model", models["image"], "--json")
    assert "of case alone" in run(capsys, *words)[2]
    status, out, err = run(capsys, *words, "--ignore", "case")
    assert (status, err, json.loads(out)["cer"], json.loads(out)["ignored"]) == (0, "", 0, ["case"])


def test_boxes_meet_half_way_between_the_symbols():
    places = np.stack([np.arange(12.0), np.full(12, 5.0)], axis=1)  # frame i is at x = i
    line = Line(np.zeros((12, 1)), places, height=9)
    symbols = [Symbol("a", 0, 1, 1.0), Symbol("b", 3, 4, 1.0)]  # of 6 output frames, 2 frames each
    assert symbol_boxes(symbols, line, 2) == [(0, 0, 3, 9), (4, 0, 11, 9)]
    ink = Line(np.zeros((12, 1)), places, height=None)
    assert symbol_boxes(symbols, ink, 2) == [(0, 5, 3, 5), (4, 5, 11, 5)]
    assert symbol_boxes([], line, 2) == []


def test_demo_reads_the_picture_and_the_ink_with_the_model_of_each(models, tmp_path, capsys, monkeypatch):
    shipped = tmp_path / "shipped"
    for domain in ("image", "ink"):
        tiny_model(shipped / f"{domain}.safetensors", domain, default=True)
    ship(monkeypatch, "hwr", models=shipped)
    status, out, err = run(capsys, "demo", "--output", tmp_path)
    assert (status, err) == (0, "")
    assert "says:    carousel" in out and "says:    Seven letters" in out and out.count("read as: ") == 2
    for name in ("demo-line.png", "demo-word.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
