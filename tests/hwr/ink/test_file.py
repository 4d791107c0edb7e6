"""Ink files: what is written in each format comes back, and what is damaged gets its sentence."""

import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.errors import InputError
from carousel.hwr.ink import file as ink
from carousel.hwr.ink.file import is_ink_xml, parse_unipen, read_ink, read_inks

NUMBER = st.floats(-1e6, 1e6).map(lambda x: round(x, 3)) | st.integers(-10000, 10000)
STROKES = st.lists(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=6), min_size=1, max_size=4)


def file(text: str | bytes) -> io.BytesIO:
    return io.BytesIO(text if isinstance(text, bytes) else text.encode())


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape[1] == 2
        np.testing.assert_allclose(a, np.array(b, dtype=float), atol=1e-6)


def inkml(body: str, head: str = "") -> io.BytesIO:
    return file(f'<?xml version="1.0"?><ink xmlns="http://www.w3.org/2003/InkML">{head}{body}</ink>')


def trace_format(*channels: str) -> str:
    return f"<traceFormat>{''.join(f'<channel {channel}/>' for channel in channels)}</traceFormat>"


@settings(max_examples=50, deadline=None)
@given(STROKES)
def test_every_format_gives_the_same_strokes(strokes):
    flat = [[value for point in stroke for value in point] for stroke in strokes]
    same(read_ink(file(json.dumps({"strokes": flat, "text": "x"}))), strokes)
    same(read_ink(file(json.dumps(flat))), strokes)
    same(read_ink(file(json.dumps({"strokes": strokes}))), strokes)
    same(read_ink(file(gzip.compress(json.dumps({"strokes": flat}).encode()))), strokes)
    traces = "".join(f"<trace>{', '.join(f'{x} {y}' for x, y in stroke)}</trace>" for stroke in strokes)
    same(read_ink(inkml(traces)), strokes)
    unipen = "".join(
        ".PEN_DOWN\n" + "".join(f"{x} {-y}\n" for x, y in stroke) + ".PEN_UP\n" for stroke in strokes
    )
    same(read_ink(file(".VERSION 1.0\n.COORD X Y\n" + unipen)), strokes)
    points = "".join(
        "<Stroke>" + "".join(f'<Point x="{x}" y="{y}" time="1"/>' for x, y in stroke) + "</Stroke>"
        for stroke in strokes
    )
    whiteboard = f"<WhiteboardCaptureSession><StrokeSet>{points}</StrokeSet></WhiteboardCaptureSession>"
    same(read_ink(file(whiteboard)), strokes)


def test_inkml_channels_are_found_by_name_and_orientation():
    head = trace_format('name="T"', 'name="Y" orientation="-ve"', 'name="F"', 'name="X"')
    same(read_ink(inkml("<trace>0 10 .5 1,1 20 .5 2</trace>", head)), [[(1, -10), (2, -20)]])


def test_inkml_contexts_name_their_channels():
    channels = trace_format('name="Y"', 'name="X"')
    source = f'<inkSource xml:id="pen">{channels}</inkSource>'
    head = f'<definitions>{source}<context xml:id="c" inkSourceRef="#pen"/></definitions>'
    body = '<traceGroup><trace contextRef="#c">1 2, 3 4</trace></traceGroup>'
    same(read_ink(inkml(body, head)), [[(2, 1), (4, 3)]])


def test_inkml_traces_take_the_context_of_the_nearest_group():
    txy, yx = trace_format('name="T"', 'name="X"', 'name="Y"'), trace_format('name="Y"', 'name="X"')
    plain = trace_format('name="X"', 'name="Y"')
    contexts = f'<context xml:id="txy">{txy}</context><context xml:id="yx">{yx}</context>'
    head = f'{plain}<definitions>{contexts}<context xml:id="same" contextRef="#txy"/>'
    head += f'<context xml:id="own" contextRef="#yx">{txy}</context></definitions>'
    body = (
        '<trace>1 2</trace><traceGroup contextRef="#txy"><trace>9 3 4</trace>'
        '<traceGroup><trace>9 5 6</trace><trace contextRef="#yx">8 7</trace></traceGroup>'
        '<traceGroup contextRef="#yx"><trace>10 9</trace></traceGroup></traceGroup>'
        '<traceGroup contextRef="#same"><trace>9 11 12</trace></traceGroup><trace>13 14</trace>'
        '<trace contextRef="#own">9 15 16</trace>'
    )
    expected = [[(x, x + 1)] for x in range(1, 17, 2)]
    same(read_ink(inkml(body, head)), expected)


def test_inkml_differences_and_repeats():
    # explicit values, then first differences, then second ones: after the recommendation's own example
    text = """<trace>1125 18432, '23'43, "7"-8, 3-5, 7 -3, 6 2, 6 8</trace>"""
    found = read_ink(inkml(text))[0]
    np.testing.assert_allclose(found[:4], [(1125, 18432), (1148, 18475), (1178, 18510), (1211, 18540)])
    same(read_ink(inkml("<trace>1 2, * 5, !7 *</trace>")), [[(1, 2), (1, 5), (7, 5)]])


def test_inkml_pen_up_and_continued_traces():
    body = (
        '<trace xml:id="a" continuation="begin">0 0, 1 1</trace><trace type="penUp">5 5, 6 6</trace>'
        '<trace xml:id="b" continuation="end" priorRef="#a">2 2</trace><trace>9 9</trace>'
    )
    same(read_ink(inkml(body)), [[(0, 0), (1, 1), (2, 2)], [(9, 9)]])


def test_inkml_in_utf_16_is_read():
    text = '<?xml version="1.0" encoding="UTF-16"?><ink><trace>1 2</trace></ink>'
    same(read_ink(file(text.encode("utf-16"))), [[(1, 2)]])


def test_unipen_columns_pen_up_points_and_one_line_strokes():
    text = ".COORD T X Y P\n.PEN_DOWN\n0 1 2 9\n1 3 4 9\n.DT 10\n2 5 6 9\n.PEN_UP\n7 7 7 0\n"
    same(parse_unipen(text), [[(1, -2), (3, -4), (5, -6)]])
    same(parse_unipen(".PEN_DOWN 1 2\n3 4\n.PEN_UP\n"), [[(1, -2), (3, -4)]])


def test_several_samples_are_read_by_read_inks_only():
    lines = file('{"strokes": [[0, 0, 1, 1]], "text": "a"}\n{"strokes": [[2, 2]], "text": "b"}\n')
    assert [len(strokes) for strokes in read_inks(lines)] == [1, 1]
    lines.seek(0)
    with pytest.raises(InputError, match="holds 2 samples"):
        read_ink(lines)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "empty; copy"),
        (b" \n", "empty"),
        (b"hello", "not ink"),
        (b"\x89PNG\r\n", "not ink"),
        (b'{"strokes": [[0, 1', "not JSON"),
        (b'{"text": "x"}', "strokes"),
        (b'{"strokes": [[0, 1, 2]]}', "flat list"),
        (b'{"strokes": [[0, "a"]]}', "flat list"),
        (b'{"strokes": [[[0, 1], [2]]]}', "flat list"),
        (b'{"strokes": [[[0, 1, 2], [2, 3, 4]]]}', "flat list"),
        (b'{"strokes": [7]}', "flat list"),
        (b'{"strokes": []}', "no pen stroke"),
        (b'{"strokes": [[]]}', "no pen stroke"),
        (b'{"strokes": [[NaN, 1]]}', "finite"),
        (b'{"strokes": [[1e999, 1]]}', "finite"),
        (b'{"strokes": [[0, 1]]}\n{"strokes": [[0', "line 2"),
        (b"[" * 100000, "nested"),
        (b'{"strokes": [[0, 1]]}\n' + b"[" * 100000, "line 2.*nested"),
        (b'{"strokes": [[0, ' + b"1" * 5000 + b"]]}", "thousands of digits"),
        (b'{"strokes": [[0, 1]]}\n[[0, ' + b"1" * 5000 + b"]]", "line 2.*thousands of digits"),
        (b'{"strokes": [[[[0, 1]], [[2, 3]]]]}', "flat list"),
        ('{"strokes": [[0, 1]]}'.encode("utf-16"), "not UTF-8"),
        ('{"strokes": [[0, 1]]}'.encode("utf-16-le"), "not UTF-8"),
        ('{"strokes": [[0, 1]]}'.encode("utf-16-be"), "not UTF-8"),
        (".PEN_DOWN\n1 2\n".encode("utf-16"), "not UTF-8"),
        (b"<ink><trace>0 0", "well-formed"),
        (b"<svg/>", "root"),
        (b"<ink/>", "no pen stroke"),
        (b"<ink><trace>0 0, 1</trace></ink>", "lacks X or Y"),
        (b"<ink><trace>0 T</trace></ink>", "coordinate"),
        (b"<ink><traceFormat><channel name='X'/></traceFormat><trace>0</trace></ink>", "channels X and Y"),
        (b"<WhiteboardCaptureSession><Stroke><Point x='1'/></Stroke></WhiteboardCaptureSession>", "x and y"),
        (b"<!DOCTYPE ink [<!ENTITY a 'b'>]><ink/>", "document type"),
        ("<!DOCTYPE ink [<!ENTITY a 'b'>]><ink/>".encode("utf-16"), "document type"),
        (b".PEN_DOWN\n1 x\n", "line 2"),
        (b".COORD X T\n", "lacks X or Y"),
        (b".COMMENT nothing here\n", "no pen stroke"),
        (gzip.compress(b'{"strokes": [[0, 1]]}', mtime=0)[:20], "cannot be unpacked.*; copy"),
    ],
)
def test_damaged_files_are_named_with_what_is_wrong(tmp_path, contents, message):
    path = tmp_path / "bad.ink"
    path.write_bytes(contents)
    with pytest.raises(InputError, match=message) as error:
        read_ink(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_ink_in_xml_is_told_by_its_root():
    opening = '<?xml version="1.0"?><!-- a line --><WhiteboardCaptureSession><StrokeSet><Str'  # cut anywhere
    assert is_ink_xml(opening.encode()) and is_ink_xml(opening.encode("utf-16"))
    assert is_ink_xml(b'<?xml version="1.0"?>\n<inkml:ink xmlns:inkml="http://www.w3.org/2003/InkML">')
    for other in (b"", b"<svg/>", b"<", b"ink", b'<?xml version="1.0" encoding="no-such"?><ink/>'):
        assert not is_ink_xml(other)


def test_missing_files_and_folders(tmp_path):
    for path, says in (
        (tmp_path / "none.json", "no such file; correct"),
        (tmp_path, "folder; give"),
    ):
        with pytest.raises(InputError, match=says):
            read_ink(path)


def test_too_large_a_file_is_not_unpacked_whole(monkeypatch):
    monkeypatch.setattr(ink, "LARGEST_FILE", 1000)
    with pytest.raises(InputError, match="too much"):
        read_ink(file(gzip.compress(b" " * 100000)))
