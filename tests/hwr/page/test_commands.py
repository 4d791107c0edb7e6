"""Pages whose lines are known, through the commands: a picture, its PAGE file, and a tiny model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from carousel.common.data.manifest import read_manifest, write_manifest
from carousel.hwr.cli import main
from carousel.hwr.image.columns import read_image
from carousel.hwr.page.cut import cut
from carousel.hwr.page.read import open_page, read_page
from carousel.hwr.reader import read
from tests.tiny import FEATURES, tiny_model

WORDS = ("bad cafe", "a head", "")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("models") / "image.safetensors", "image"))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """page.xml with three lines, the last without ink or text, and its picture of half the size."""
    picture = Image.new("L", (400, 300), 235)
    pen = ImageDraw.Draw(picture)
    rows = []
    for number, text in enumerate(WORDS):
        y = 60 + 90 * number
        for x in range(30, 360 if text else 0, 14):
            pen.line([(x, y + 8), (x + 4, y - 14), (x + 8, y + 6), (x + 11, y - 8)], fill=25, width=2)
        top, bottom, base = 2 * (y - 30), 2 * (y + 25), 2 * y + 16
        box = f"40,{top} 760,{top} 760,{bottom} 40,{bottom}"
        rows.append(
            f'<TextLine id="l{number}"><Coords points="{box}"/><Baseline points="40,{base} 760,{base}"/>'
            f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv></TextLine>"
        )
    picture.save(tmp_path / "scan.png")
    file = tmp_path / "page.xml"
    file.write_text(
        '<PcGts><Page imageFilename="scan.png" imageWidth="800" imageHeight="600"><TextRegion id="r">'
        f'<Coords points="0,0 9,0 9,9"/>{"".join(rows)}</TextRegion></Page></PcGts>'
    )
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def test_a_page_is_recognised_in_every_format(page: Path, model: str, tmp_path: Path, capsys):
    status, text, said = run(capsys, "recognise", page, "--model", model)
    assert (status, said) == (0, "") and text.count("\n") == 3 and text.endswith("\n\n")  # the last is blank
    lines = text.split("\n")[:3]
    assert lines[0] and lines[1]
    for form, ending in {"alto": "xml", "page": "xml", "hocr": "hocr", "pdf": "pdf", "json": "json"}.items():
        out = tmp_path / form
        assert run(capsys, "recognise", page, "--model", model, "--format", form, "--output", out)[0] == 0
        (file,) = out.iterdir()
        assert file.name == f"page.{ending}"
        if ending == "xml":
            found = read_page(file)
            assert [line.text or "" for line in found.lines] == [" ".join(line.split()) for line in lines]
            assert (found.width, found.height, str(found.image)) == (400, 300, "scan.png")
    found = json.loads((tmp_path / "json" / "page.json").read_text())
    assert [line["text"] for line in found["lines"]] == lines
    for line, drawn in zip(found["lines"], open_page(page)[0].lines, strict=True):
        left, top, right, bottom = drawn.box
        for word in line["words"]:
            x0, y0, x1, y1 = word["box"]
            assert left - 2 <= x0 < x1 <= right + 2 and top - 2 <= y0 < y1 <= bottom + 2


def test_evaluating_a_page_is_evaluating_its_lines_as_a_manifest(
    page: Path, model: str, tmp_path: Path, capsys
):
    drawn, picture = open_page(page)
    rows = [
        {
            "image": picture,
            "text": line.text,
            "baseline": line.baseline.tolist(),
            "polygon": line.polygon.tolist(),
        }
        for line in drawn.lines
        if line.text
    ]
    write_manifest(tmp_path / "lines.jsonl", rows)
    reports = []
    for path in (page, page.parent, tmp_path / "lines.jsonl"):
        status, told, _ = run(capsys, "evaluate", path, "--model", model, "--json")
        assert status == 0
        reports.append({key: json.loads(told)[key] for key in ("items", "cer", "wer", "chars")})
    assert reports[0] == reports[1] == reports[2] and reports[0]["items"] == 2


def test_the_other_pages_of_a_folder_are_evaluated(page: Path, model: str, tmp_path: Path, capsys):
    (tmp_path / "broken.xml").write_text("<PcGts><Page")
    (tmp_path / "other.xml").write_text("<notes/>")
    status, told, said = run(capsys, "evaluate", tmp_path, "--model", model, "--json")
    assert status == 1 and json.loads(told)["items"] == 2
    assert "broken.xml: is not well-formed XML" in said and said.count("broken.xml") == 1
    assert "PAGE or ALTO, all of it: 2 samples" in said and "left out 1 × empty text" in said
    page.unlink()
    (tmp_path / "broken.xml").unlink()
    status, told, said = run(capsys, "evaluate", tmp_path, "--model", model)
    assert status == 1 and "fits no layout; looked for" in said and not told


def test_rows_of_a_manifest_are_read_as_they_are_cut(page: Path, tmp_path: Path):
    drawn, picture = open_page(page)
    line = drawn.lines[0]
    places = {"baseline": line.baseline.tolist(), "polygon": line.polygon.tolist()}
    write_manifest(tmp_path / "a.jsonl", [{"image": picture, "text": "x", **places}] * 2)
    samples = list(read_manifest(tmp_path / "a.jsonl"))
    cache: dict = {}
    found = [read(sample, FEATURES["image"], cache=cache) for sample in samples]
    np.testing.assert_array_equal(found[0], found[1])
    expected = cut(read_image(picture), line)
    assert len(cache) == 2 and all(np.array_equal(kept, expected) for kept in cache.values())


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"baseline": [[1, 2]]}, "needs two points"),
        ({"polygon": "1,2 3,4"}, "not a list of points"),
        ({"polygon": [[1, 2], [3]]}, "not a list of points"),
        ({"baseline": [[900, 2], [990, 2]]}, "outside of the picture"),
    ],
)
def test_rows_that_tell_no_line_are_named(
    page: Path, model: str, tmp_path: Path, places: dict, said: str, capsys
):
    good = {"image": "scan.png", "text": "a", "baseline": [[20, 68], [380, 68]]}
    rows = [good, {"image": "scan.png", "text": "a", **places}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, told, err = run(capsys, "evaluate", tmp_path / "a.jsonl", "--model", model, "--json")
    assert status == 1 and json.loads(told)["items"] == 1
    assert said in err and "scan.png" in err and err.count("\n") == 1


def test_words_of_a_page_are_aligned_and_spotted(page: Path, model: str, capsys):
    text = "bad\ncafe head"
    status, told, said = run(capsys, "align", page, "--text", text, "--model", model, "--format", "json")
    found = json.loads(told)
    assert (status, said) == (0, "") and found["text"].split() == text.split()
    assert [len(line["words"]) > 0 for line in found["lines"]] == [True, True, False] or len(
        found["lines"]
    ) == 3
    boxes = [word["box"] for line in found["lines"] for word in line["words"]]
    assert all(box[0] < box[2] and 20 <= box[1] < box[3] <= 300 for box in boxes)
    status, told, _ = run(
        capsys, "spot", "a", page, "--model", model, "--inside", "--threshold", "0.01", "--format", "json"
    )
    rows = json.loads(told)["spotted"]
    assert status == 0 and rows and all(row["box"] is not None for row in rows)


def test_a_page_is_not_read_from_a_pipe_nor_by_a_model_of_strokes(page: Path, tmp_path: Path, capsys):
    ink = tiny_model(tmp_path / "ink.safetensors", "ink")
    status, _, said = run(capsys, "recognise", page, "--model", ink)
    assert status == 1 and "model" in said and said.count("\n") == 1
    page.write_text(page.read_text().replace("scan.png", "gone.png"))
    status, _, said = run(capsys, "recognise", page)
    assert status == 1 and "its picture gone.png is not beside it" in said and said.count("\n") == 1


def test_pages_of_a_pdf_are_inputs(page: Path, model: str, tmp_path: Path, capsys):
    pytest.importorskip("pypdfium2", reason="needs the extra pdf")
    lines = [Image.new("L", (400, 60), 255) for _ in range(2)]
    for line in lines:
        for x in range(20, 380, 14):
            ImageDraw.Draw(line).line([(x, 40), (x + 4, 12), (x + 8, 38)], fill=0, width=3)
    lines[0].save(tmp_path / "lines.pdf", save_all=True, append_images=lines[1:], resolution=300)
    status, told, said = run(capsys, "recognise", tmp_path / "lines.pdf", "--model", model)
    assert (status, said) == (0, "")
    assert [row.split("\t")[0][-6:] for row in told.splitlines()] == ["page 1", "page 2"]
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.5\nnonsense")
    status, _, said = run(capsys, "recognise", tmp_path / "bad.pdf", "--model", model)
    assert status == 1 and "is a damaged PDF" in said and said.count("\n") == 1


def test_a_pdf_without_the_extra_names_it(tmp_path: Path, model: str, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pypdfium2", None)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.5\n")
    status, _, said = run(capsys, "recognise", tmp_path / "a.pdf", "--model", model)
    assert status == 1 and "carousel-ctc[pdf]" in said
