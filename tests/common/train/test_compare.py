"""Run folders side by side."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from carousel.asr.cli import main
from carousel.common.errors import InputError
from carousel.common.train import compare
from carousel.common.train.validation import write_metrics


def make(folder: Path, cers: list[float], **settings: Any) -> Path:
    folder.mkdir(parents=True)
    whole = {"name": folder.name, "seed": 1, "trainer": {"epochs": 9}, **settings}
    (folder / "config.yaml").write_text(yaml.safe_dump(whole))
    rows = [
        {
            "epoch": k,
            "minutes": k / 2,
            "train_loss": 1.0,
            "valid_loss": 1.0,
            "valid_cer": cer,
            "valid_wer": 2 * cer,
        }
        for k, cer in enumerate(cers, 1)
    ]
    write_metrics(folder, rows)
    return folder


def test_the_best_comes_first_with_the_settings_that_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    make(tmp_path / "a", [0.5, 0.2, 0.3], optimizer={"rate": 0.1, "kind": "sgd"})
    make(tmp_path / "in" / "b", [0.4, 0.1], optimizer={"rate": 0.2, "kind": "sgd"})
    assert main(["runs", str(tmp_path), "--json", "--plot", str(tmp_path / "both.png")]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["run"], second["run"]) == (str(tmp_path / "in" / "b"), str(tmp_path / "a"))
    assert first["valid_cer"] == 0.1
    assert [second[key] for key in ("valid_cer", "best", "epoch", "last")] == [0.2, 2.0, 3.0, 0.3]
    assert second["optimizer.rate"] == 0.1 and "optimizer.kind" not in second and "name" not in second
    assert (tmp_path / "both.png").stat().st_size > 1000
    assert main(["runs", str(tmp_path)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["run", "epoch"] and "10.00 %" in lines[0] and len(lines) == 2


def test_what_cannot_be_read_is_named_and_the_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    make(tmp_path / "a", [0.5])
    (make(tmp_path / "b", [0.5]) / "metrics.csv").write_text("epoch,valid_cer\n1,many\n")
    assert main(["runs", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "metrics.csv: cannot be read" in said.err and str(tmp_path / "a") in said.out
    (tmp_path / "empty").mkdir()
    assert main(["runs", str(tmp_path / "empty")]) == 1
    assert "holds no run" in capsys.readouterr().err
    assert main(["runs", str(tmp_path / "gone")]) == 1
    assert "there is no such folder" in capsys.readouterr().err


def test_a_run_that_goes_on_is_marked(tmp_path: Path):
    folder = make(tmp_path / "a", [0.5])
    lock = FileLock(folder / ".lock")
    with lock:
        assert compare.read(folder).running
    (folder / ".lock").touch()  # left by one that was killed
    assert not compare.read(folder).running
    (folder / "config.yaml").write_text("a: [")
    with pytest.raises(InputError, match="cannot be read as settings"):
        compare.read(folder)
