"""What a program is made of: a format is an entry of a dict, an option a field, a kind of input a Domain."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from carousel.asr import cli as asr
from carousel.common.cli.formats import Format
from carousel.common.cli.main import main
from carousel.common.domain import open_input
from carousel.common.options import Decoding
from carousel.hwr import cli as hwr
from carousel.hwr.domain import IMAGE, INK
from tests.tiny import tiny_model


def test_a_new_format_is_one_entry(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    loud = Format(lambda found, item, model: f"{item.name} {model}: {found.text.upper()}!\n", "shout")
    program = replace(hwr.PROGRAM, formats={**hwr.PROGRAM.formats, "loud": loud})
    model, line = tiny_model(tmp_path / "m.safetensors", "image"), IMAGE.samples / "line.png"
    words = ["recognise", str(line), "--model", str(model)]
    assert main(program, words) == 0
    text = capsys.readouterr().out
    assert main(program, [*words, "--format", "loud"]) == 0
    assert capsys.readouterr().out == f"{line} m: {text.strip(chr(10)).upper()}!\n"
    assert main(program, [*words, "--format", "loud", "--output", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["line.shout"]
    assert (
        main(program, ["recognise", str(line), *words[1:], "--format", "loud"]) == 2
    )  # it cannot share a stream
    assert "--output" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(program, ["spot", "a", str(line), "--format", "loud"])  # nor hold keywords


@pytest.mark.parametrize("program", [asr.PROGRAM, hwr.PROGRAM], ids=["asr", "hwr"])
def test_every_option_of_decoding_is_in_the_help(program, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(program, [program.verb, "--help"])
    told = capsys.readouterr().out
    assert all(f"--{field.name.replace('_', '-')} " in told for field in fields(Decoding))


def test_the_kind_of_an_input_is_told_by_suffix_bytes_or_type(tmp_path: Path) -> None:
    picture = (IMAGE.samples / "line.png").read_bytes()
    strokes = (IMAGE.samples / "word.json").read_bytes()
    for name, data, kind in (
        ("a.png", strokes, "image"),  # a suffix that is known goes first
        ("a.json", picture, "ink"),
        ("picture", picture, "image"),
        ("strokes", b"\xef\xbb\xbf\n" + strokes, "ink"),
        ("empty", b"", "image"),
    ):
        (tmp_path / name).write_bytes(data)
        assert open_input(tmp_path / name, (IMAGE, INK))[0].name == kind, name
    assert open_input(np.zeros((10, 20), np.uint8), (IMAGE, INK))[0] is IMAGE
    assert open_input([np.zeros((3, 2))], (IMAGE, INK))[0] is INK
