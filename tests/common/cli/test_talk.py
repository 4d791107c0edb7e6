"""How much a command tells on standard error, and tables on narrow terminals."""

import json

import numpy as np
import pytest
import soundfile

from carousel.asr.cli import main
from tests.tiny import tiny_model


@pytest.fixture
def words(tmp_path):
    """`transcribe` of a recording that is done already, as a note tells, one that is not, and none."""
    for name in ("done", "noise"):
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "done.txt").write_text("")
    model = tiny_model(tmp_path / "tiny.safetensors", "speech", name="tiny")
    files = [str(tmp_path / f"{name}.wav") for name in ("done", "noise", "none")]
    return ["transcribe", *files, "--model", str(model), "--output", str(tmp_path / "out"), "--skip-existing"]


def told(words, capsys) -> str:
    assert main(words) == 1
    return capsys.readouterr().err


def test_quiet_tells_only_what_fails(words, capsys):
    (line,) = told([*words, "--quiet"], capsys).splitlines()
    assert "none.wav" in line


def test_verbose_tells_the_model_its_search_and_each_step_as_well(words, capsys):
    usual, more = told(words[:-1], capsys), told([*words[:-1], "-v"], capsys)
    assert "real time" in usual and "model tiny" not in usual
    assert "model tiny on cpu, " in more and "tiny: decoder" in more
    assert "2 inputs, " in more and " frames: read in " in more


def test_quiet_is_for_one_run(words, capsys):
    told([*words, "-q"], capsys)
    assert "note: " in told(words, capsys)


def test_models_are_a_table_where_it_fits_and_paragraphs_where_not(tmp_path, capsys, monkeypatch):
    card = {"licence": "a licence of many words " * 4, "results": {"test": "5 %"}}
    tiny_model(tmp_path / "tiny.safetensors", "speech", name="tiny", **card)
    assert main(["models", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[0].split() == ["NAME", "READS", "SYMBOLS", "SIZE", "LICENCE", "RESULTS"]
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["models", str(tmp_path)]) == 0
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines())) <= 60
    assert set(table.split()) - set(narrow.split()) == {
        "NAME",
        "READS",
        "SYMBOLS",
        "SIZE",
        "LICENCE",
        "RESULTS",
    }
    assert main(["models", str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) > 1
