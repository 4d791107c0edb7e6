"""What InkML says is drawn, and where; files that would cost minutes get a sentence instead."""

import io
import time
from contextlib import suppress

import numpy as np
import pytest

from carousel.common.errors import InputError
from carousel.hwr.ink import inkml
from carousel.hwr.ink.file import read_ink

TWO = '<trace xml:id="a">0 0, 1 1, 2 2</trace><trace xml:id="b">5 5, 6 6</trace>'
GROUP = f'<traceGroup xml:id="g">{TWO}</traceGroup>'


def read(body: str, head: str = "") -> list[list[list[float]]]:
    text = f'<ink xmlns="http://www.w3.org/2003/InkML"><definitions>{head}</definitions>{body}</ink>'
    return [stroke.tolist() for stroke in read_ink(io.BytesIO(text.encode()))]


A, B = [[0, 0], [1, 1], [2, 2]], [[5, 5], [6, 6]]


OF_C = '<trace contextRef="#c">1 2</trace>'


def view(reference: str, more: str = "") -> str:
    return f'<traceView traceDataRef="#{reference}" {more}/>'


@pytest.mark.parametrize(
    ("body", "head", "expected"),
    [
        ("<trace>9 9</trace>", TWO, [[[9, 9]]]),
        (view("b"), TWO, [B]),
        (view("b") + view("a") + view("b"), TWO, [B, A]),
        (view("g"), GROUP, [A, B]),
        (view("g", 'from="2"'), GROUP, [B]),
        (view("g", 'to="1"'), GROUP, [A]),
        (view("g", 'from="1:2" to="2:1"'), GROUP, [[[1, 1], [2, 2]], [[5, 5]]]),
        (view("a", 'from="2" to="2"'), TWO, [[[1, 1]]]),
        (f"<traceView>{view('a')}<traceView>{view('b')}</traceView></traceView>", TWO, [A, B]),
        (view("v"), TWO + '<traceView xml:id="v" traceDataRef="#b"/>', [B]),
        (TWO + '<traceGroup><traceView traceDataRef="a"/></traceGroup>', "", [A, B]),  # as CROHME annotates
        (view("a", 'from="2"') + TWO, "", [A, B]),
    ],
)
def test_traces_of_definitions_are_drawn_where_a_view_shows_them(body, head, expected):
    assert read(body, head) == expected


def test_definitions_alone_draw_nothing():
    with pytest.raises(InputError, match="no pen stroke"):
        read("", TWO)


def transform(text: str, kind: str = "affine") -> str:
    return f'<canvasTransform xml:id="t"><mapping type="{kind}">{text}</mapping></canvasTransform>'


def test_affine_transforms_are_applied_wherever_they_stand():
    body = '<trace contextRef="#c">1 2, 3 4</trace><trace>1 2</trace>'
    expected = [[[12, -3], [14, -7]], [[1, 2]]]
    matrix = "1 0 11, 0 -2 1"
    inside = f'<context xml:id="c">{transform(matrix)}</context>'
    beside = f'{transform(matrix)}<context xml:id="c" canvasTransformRef="#t"/>'
    farther = f'<context xml:id="d">{transform(matrix)}</context><context xml:id="c" contextRef="#d"/>'
    for head in (inside, beside, farther):
        assert read(body, head) == expected
    assert read(body, inside.replace("1 0 11, 0 -2 1", "0 1 0 1 0 0")) == [[[2, 1], [4, 3]], [[1, 2]]]


def test_a_transform_says_the_directions_that_else_the_channels_say():
    channels = '<traceFormat><channel name="X"/><channel name="Y" orientation="-ve"/></traceFormat>'
    body = '<trace contextRef="#c">1 2</trace>'
    assert read(body, f'<context xml:id="c">{channels}</context>') == [[[1, -2]]]
    assert read(body, f'<context xml:id="c">{channels}{transform("", "identity")}</context>') == [[[1, -2]]]
    assert read(body, f'<context xml:id="c">{channels}{transform("1 0 0, 0 -1 0")}</context>') == [[[1, -2]]]


def test_a_context_in_the_stream_is_that_of_what_follows():
    context = f"<context>{transform('2 0 0, 0 2 0')}</context>"
    assert read(f"<trace>1 2</trace>{context}<trace>1 2</trace>") == [[[1, 2]], [[2, 4]]]


def in_context(text: str) -> str:
    return f'<context xml:id="c">{text}</context>'


@pytest.mark.parametrize(
    ("body", "head", "says"),
    [
        (view("none"), TWO, "refers to 'none'|refers to '#none'"),
        (view("a", 'from="x"'), TWO, "not a list of numbers"),
        (OF_C, "", "refers to"),
        (OF_C, in_context(transform("1 2")), "two rows"),
        (OF_C, in_context(transform("nan 0 0 0 0 0")), "two rows"),
        (OF_C, in_context(transform("", "mathml")), "'mathml'"),
        ("<trace>1a 2b</trace>", "", "not numbers"),
    ],
)
def test_what_cannot_be_drawn_is_named(body, head, says):
    with pytest.raises(InputError, match=says):
        read(body, head)


def cheap(body: str, head: str = "") -> None:
    """Reads it, or says why not, in seconds."""
    start = time.process_time()
    with suppress(InputError):
        read(body, head)
    assert time.process_time() - start < 5


def test_nothing_grows_with_the_square_of_the_file():
    count = 10_000
    cheap("".join(f"<trace>{i} 2, {i + 1} 4</trace>" for i in range(count)))
    chain = (
        f'<trace xml:id="t{i}" continuation="middle" priorRef="#t{i - 1}">{i} 2</trace>' for i in range(count)
    )
    cheap("".join(chain))
    cheap(f"<trace>{' ' * 200_000}x</trace>")
    cheap(f"<trace>1 2{' ' * 200_000}x</trace>")
    cheap("<traceGroup>" * count + "<trace>1 2</trace>" + "</traceGroup>" * count)
    doubled = "".join(f'<traceView xml:id="v{i + 1}">{view(f"v{i}") * 2}</traceView>' for i in range(60))
    cheap(view("v60"), f'<traceGroup xml:id="v0">{TWO}</traceGroup>{doubled}')
    cheap(view("r"), '<traceView xml:id="r" traceDataRef="#r"/>')
    contexts = "".join(f'<context xml:id="c{i}" contextRef="#c{i + 1}"/>' for i in range(count))
    cheap('<trace contextRef="#c0">1 2</trace>' * 100, contexts + f'<context xml:id="c{count}"/>')


def test_views_that_refer_ever_again_are_named(monkeypatch):
    monkeypatch.setattr(inkml, "MOST_STEPS", 100)
    with pytest.raises(InputError, match="more than 100 elements"):
        read("".join(view("g", f'from="1:{i}"') for i in range(100)), GROUP)


def test_more_points_than_a_line_has_are_named(monkeypatch):
    monkeypatch.setattr(inkml, "MOST_POINTS", 10)
    many = "1 2," * 11
    for text in (
        f"[[{'1, 2, ' * 10} 1, 2]]",
        ".PEN_DOWN\n" + "1 2\n" * 11,
        f"<ink><trace>{many}</trace></ink>",
    ):
        with pytest.raises(InputError, match="more than 10 points"):
            read_ink(io.BytesIO(text.encode()))
    assert np.array(read_ink(io.BytesIO(b"[[1, 2]]"))).shape == (1, 1, 2)


def test_a_document_type_in_another_encoding_is_refused_too():
    text = b'<?xml version="1.0" encoding="cp500"?>'
    hidden = '<!DOCTYPE ink [<!ENTITY a "b">]><ink><trace>1 2</trace></ink>'.encode("cp500")
    with pytest.raises(InputError, match=r"document type|encoding"):
        read_ink(io.BytesIO(text + hidden))
