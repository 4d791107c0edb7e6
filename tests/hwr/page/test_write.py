"""Pages written and read again: the same texts at the same places, whatever is in them."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from carousel.common.cli.inputs import Input
from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.domain import Transcript
from carousel.common.errors import InputError
from carousel.common.text.alphabet import normalise
from carousel.hwr.formats import FORMATS
from carousel.hwr.page.read import read_page

WIDTH, HEIGHT = 1200, 1600
LETTERS = st.characters(codec="utf-8", exclude_categories=("C", "Z", "M"))
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=6).map(normalise), max_size=4)


@st.composite
def transcripts(draw: Any, words: st.SearchStrategy = WORDS) -> Transcript:
    """A page of lines one below the other, bent and slanted, each word in a box of its own."""
    symbols: list[Symbol] = []
    lines = []
    for number in range(draw(st.integers(0, 5))):
        left, top = draw(st.integers(0, 300)), 100 + 250 * number
        slope, bend = draw(st.floats(-0.05, 0.05)), draw(st.floats(-20, 20))
        x = np.linspace(left, left + 800, 5)
        y = top + slope * (x - left) + bend * np.sin((x - left) / 250)
        baseline = np.stack([x, y], axis=1).round(1)
        outline = np.concatenate([baseline - [0, 50], np.add(baseline, [0, 20])[::-1]])
        name = draw(st.sampled_from([{}, {"id": "l1"}, {"id": f"line {number}"}, {"id": f"x{number}"}]))
        lines.append(name | {"baseline": baseline.tolist(), "polygon": outline.tolist()})
        symbols += [Symbol("\n", 0, 0, 1.0)] if number else []
        for place, word in enumerate(draw(words)):
            symbols += [Symbol(" ", 0, 0, 1.0)] if place else []
            start, wide = left + 200 * place, 160 / len(word)
            for k, letter in enumerate(word):
                box = (start + k * wide, top - 60.0, start + (k + 1) * wide, top + 20.0)
                symbols.append(Symbol(letter, 0, 1, draw(st.floats(0, 1)), box))
    about = {"domain": "image", "image": "a.png", "width": WIDTH, "height": HEIGHT, "lines": lines}
    return Transcript((Hypothesis(tuple(symbols), -1.0),), about)


ITEM = Input("a.png", Path("a.png"), "a")


def written(name: str, transcript: Transcript, item: Input = ITEM) -> Any:
    return FORMATS[name].write(transcript, item, "some <model>")


def lines_of(transcript: Transcript) -> list[str]:
    return transcript.text.split("\n") if transcript.about["lines"] else []


@settings(max_examples=40)
@given(transcripts(), st.sampled_from([("alto", 0.1), ("page", 1.0)]))
def test_alto_and_page_are_read_as_they_were_written(transcript: Transcript, form: tuple[str, float]):
    name, off = form
    data = written(name, transcript).encode()
    page = read_page(data)
    assert (page.width, page.height, str(page.image)) == (WIDTH, HEIGHT, "a.png")
    assert [line.text or "" for line in page.lines] == lines_of(transcript)
    for line, told in zip(page.lines, transcript.about["lines"], strict=True):
        np.testing.assert_allclose(line.baseline, told["baseline"], atol=off)
        np.testing.assert_allclose(line.polygon, np.clip(told["polygon"], 0, None), atol=off)
    root = ElementTree.fromstring(data)
    ids = [value for e in root.iter() for key, value in e.attrib.items() if key.lower() == "id"]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[A-Za-z_][\w.-]*", value) for value in ids)


@settings(max_examples=20)
@given(transcripts())
def test_words_have_their_boxes_and_confidences(transcript: Transcript):
    words = transcript.words
    alto = ElementTree.fromstring(written("alto", transcript).encode())
    strings = [e for e in alto.iterfind(".//{*}String") if e.get("CONTENT")]
    assert [e.get("CONTENT") for e in strings] == [word.text for word in words]
    for element, word in zip(strings, words, strict=True):
        left, top, width, height = (
            float(element.get(key, "")) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")
        )
        np.testing.assert_allclose((left, top, left + width, top + height), word.box, atol=0.2)
        assert float(element.get("WC", "")) == pytest.approx(word.confidence, abs=1e-4)
    hocr = ElementTree.fromstring(written("hocr", transcript).encode())
    spans = [e for e in hocr.iterfind(".//{*}span") if e.get("class") == "ocrx_word"]
    assert [e.text for e in spans] == [word.text for word in words]
    for element, word in zip(spans, words, strict=True):
        told = re.fullmatch(r"bbox (\d+) (\d+) (\d+) (\d+); x_wconf (\d+)", element.get("title", ""))
        assert told is not None
        np.testing.assert_allclose([int(n) for n in told.groups()[:4]], word.box, atol=0.5)
        assert abs(int(told[5]) - 100 * word.confidence) <= 0.51
    rows = [e for e in hocr.iterfind(".//{*}span") if e.get("class") == "ocr_line"]
    assert ["".join(row.itertext()) for row in rows] == lines_of(transcript)


@settings(max_examples=20)
@given(transcripts())
def test_json_has_lines_of_words_of_symbols(transcript: Transcript):
    found = json.loads(written("json", transcript))
    assert found["text"] == transcript.text and (found["width"], found["height"]) == (WIDTH, HEIGHT)
    assert [line["text"] for line in found["lines"]] == lines_of(transcript)
    for line, told in zip(found["lines"], transcript.about["lines"], strict=True):
        assert line["baseline"] == told["baseline"] and line["polygon"] == told["polygon"]
        assert [word["text"] for word in line["words"]] == line["text"].split()
        assert "".join(symbol["text"] for symbol in line["symbols"]) == line["text"]


FRENCH = st.lists(
    st.text("abcéèàçœŒ’'-–&<>()€ßłπ", min_size=1, max_size=8).map(normalise), min_size=1, max_size=4
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transcripts(FRENCH), st.sampled_from(["a.jpg", "a.png", "bits.png", "clear.png"]))
def test_the_text_of_a_pdf_is_read_back_in_its_order_and_place(tmp_path, transcript: Transcript, name: str):
    pdfium = pytest.importorskip("pypdfium2", reason="needs the extra pdf")
    mode = {"bits.png": "1", "clear.png": "LA"}.get(name, "RGB")
    picture = Image.new(mode, (WIDTH, HEIGHT), (255, 0) if mode == "LA" else "white")
    picture.save(tmp_path / name, dpi=(144, 144))
    transcript = Transcript(transcript.readings, {**transcript.about, "image": str(tmp_path / name)})
    document = pdfium.PdfDocument(written("pdf", transcript))
    page = document[0]
    assert page.get_size() == pytest.approx((WIDTH / 2, HEIGHT / 2), abs=0.1)
    text = page.get_textpage()
    assert [line.split() for line in text.get_text_bounded().splitlines()] == [
        s.split() for s in lines_of(transcript)
    ]
    if transcript.words:
        left, bottom, _, top = text.get_charbox(0, loose=True)
        box = transcript.words[0].box
        assert box is not None
        assert left == pytest.approx(box[0] / 2, abs=6)
        assert bottom < HEIGHT / 2 - transcript.about["lines"][0]["baseline"][0][1] / 2 < top


def test_many_letters_take_several_fonts(tmp_path: Path):
    pdfium = pytest.importorskip("pypdfium2", reason="needs the extra pdf")
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 600)))
    words = [letters[start : start + 30] for start in range(0, 600, 30)]
    symbols: list[Symbol] = []
    for number, word in enumerate(words):
        symbols += [Symbol("\n", 0, 0, 1.0)] if number else []
        symbols += [
            Symbol(c, 0, 1, 1.0, (30.0 * k, 70.0 * number, 30.0 * k + 30, 70.0 * number + 60))
            for k, c in enumerate(word)
        ]
    lines = [
        {"baseline": [[0, y + 50], [900, y + 50]], "polygon": [[0, y], [900, y], [900, y + 60]]}
        for y in range(0, 1400, 70)
    ]
    about = {
        "domain": "image",
        "image": str(tmp_path / "a.png"),
        "width": WIDTH,
        "height": HEIGHT,
        "lines": lines,
    }
    data = written("pdf", Transcript((Hypothesis(tuple(symbols), 0.0),), about))
    assert pdfium.PdfDocument(data)[0].get_textpage().get_text_bounded().split() == words


def test_a_single_line_and_pen_strokes(tmp_path: Path):
    Image.new("L", (300, 60), 255).save(tmp_path / "line.png")
    item = Input("line.png", tmp_path / "line.png", "line")
    reading = Hypothesis((Symbol("é", 0, 1, 0.5, (10.0, 0.0, 40.0, 60.0)),), 0.0)
    page = read_page(written("alto", Transcript((reading,), {"domain": "image"}), item).encode())
    assert [line.text for line in page.lines] == ["é"] and page.lines[0].box == (0, 0, 300, 60)
    with pytest.raises(InputError, match="is pen strokes"):
        written("page", Transcript((reading,), {"domain": "ink"}), item)


def test_what_xml_cannot_hold_is_replaced():
    reading = Hypothesis((Symbol("\x01", 0, 1, 0.5, (10.0, 0.0, 40.0, 60.0)),), 0.0)
    line = {"baseline": [[0, 9], [9, 9]], "polygon": [[0, 0], [9, 0], [9, 9]]}
    about = {"domain": "image", "width": 10, "height": 10, "lines": [line]}
    assert read_page(written("alto", Transcript((reading,), about)).encode()).lines[0].text == "\ufffd"
