"""The page of `explain`, from the command line."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from carousel.asr.cli import main as asr
from carousel.hwr.cli import main as hwr
from tests.tiny import tiny_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.random.default_rng(0).normal(0, 0.1, 32000), 16000)
    soundfile.write("long.wav", np.random.default_rng(0).normal(0, 0.1, 200 * 16000), 16000)
    line = np.full((40, 300), 255, np.uint8)
    line[12:28, 20:280:9] = 0
    Image.fromarray(line).save("line.png")
    for domain in ("speech", "image"):
        tiny_model(tmp_path / f"{domain}.safetensors", domain, name="tiny <b>")
    return tmp_path


def test_pages_hold_everything_themselves(folder: Path, capsys) -> None:
    assert asr(["explain", "a.wav", "--model", "speech.safetensors"]) == 0
    text = capsys.readouterr().out.partition(": ")[2].rstrip("\n")
    page = (folder / "explained.html").read_text()
    assert page.count("data:image/png;base64,") == 5 and f"<strong>{text}</strong>" in page
    assert "http" not in page and "<b>" not in page and "<td>" in page
    words = [
        "explain",
        "line.png",
        "--model",
        "image.safetensors",
        "--direction",
        "backward",
        "--output",
        "h.html",
    ]
    assert hwr([*words, "--unit", "3"]) == 0
    page = (folder / "h.html").read_text()
    assert "from the end to the beginning, cell\n3;" in page


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["a.wav", "--word", "xyz"], 1, "'xyz' is not a word of what is read"),
        (["a.wav", "--layer", "4"], 1, "there is no layer 4"),
        (["a.wav", "--unit", "99"], 1, "units 1 to 8"),
        (["long.wav"], 1, "several windows"),
        (["a.wav", "--output", "x.png"], 2, "FILE.html"),
    ],
)
def test_what_cannot_be_shown_is_told(folder: Path, capsys, words: list[str], status: int, said: str) -> None:
    assert asr(["explain", *words, "--model", "speech.safetensors"]) == status
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
