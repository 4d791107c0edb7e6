"""The folder of a run: one training at a time, and what it is gone on from when files are lost."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.train import loop as training
from carousel.common.train.runs import best_rate, claimed
from tests.common import toy
from tests.conftest import REPOSITORY

BEST, LAST = "best.safetensors", "last.safetensors"


class Fabric:
    """One process of several, whose first has said `told`."""

    def __init__(self, rank: int, told: str | None = None):
        self.global_rank, self.told = rank, told

    def broadcast(self, mine: Any) -> Any:
        return mine if not self.global_rank else self.told


def run(config: dict, folder: Path) -> Path:
    return training.train(config, toy.read, toy.size, folder)


def same_tensors(a: Path, b: Path) -> bool:
    left, right = load_file(a), load_file(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    run(toy.settings(folder, epochs=3), folder / "run")
    return folder / "run"


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A finished run in a folder of its own."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in trained.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def resumed(trained: Path, **trainer: Any) -> dict:
    return toy.settings(trained.parent, epochs=3, **trainer) | {"resume": True}


def test_a_second_training_in_the_folder_is_refused_and_a_dead_one_holds_nothing(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    config = toy.settings(tmp_path, epochs=500)
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "tests.common.toy", str(folder / "config.json"), str(folder)]
    first = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 120
        while not (folder / ".lock").exists() and time.monotonic() < deadline and first.poll() is None:
            time.sleep(0.01)
        for resume in (False, True):  # the first one has written nothing yet that could be in the way
            with pytest.raises(InputError, match=r"run: another training runs in this folder"):
                run(config | {"resume": resume}, folder)
        while not (folder / BEST).exists() and time.monotonic() < deadline and first.poll() is None:
            time.sleep(0.01)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    best = run(toy.settings(tmp_path, epochs=1) | {"resume": True}, folder)
    assert best.exists() and not (folder / ".lock").exists()


def test_the_first_of_several_processes_holds_the_folder_for_all(tmp_path: Path):
    with claimed(tmp_path, False, Fabric(0)):
        with claimed(tmp_path, False, Fabric(1)):  # the first has said nothing against it
            pass
        with pytest.raises(InputError, match="another training"), claimed(tmp_path, False, Fabric(0)):
            pass
        with pytest.raises(InputError, match="held"), claimed(tmp_path, False, Fabric(1, "held")):
            pass
        assert (tmp_path / ".lock").exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [None, b"", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_best_model_that_is_lost_is_made_anew(
    trained: Path, copy: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
):
    if damage is None:
        (copy / BEST).unlink()
    else:
        (copy / BEST).write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        best = run(resumed(trained), copy)
    assert same_tensors(best, trained / BEST)  # the last epoch of the toy is its best
    assert model_file.load(best).card["valid"]["cer"] == pytest.approx(best_rate(trained))
    assert str(copy / BEST) in caplog.text and "is validated" in caplog.text


def test_a_training_that_dies_before_its_best_model_is_written_loses_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save, calls = training._Training._save_model, 0

    def die(self: Any, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        save(self, *arguments)

    monkeypatch.setattr(training._Training, "_save_model", die)
    with pytest.raises(KeyboardInterrupt):
        run(toy.settings(trained.parent, epochs=3), tmp_path / "run")
    monkeypatch.undo()
    assert not same_tensors(tmp_path / "run" / BEST, trained / BEST)
    run(resumed(trained), tmp_path / "run")
    assert same_tensors(tmp_path / "run" / BEST, trained / BEST)


def test_without_a_checkpoint_both_ways_say_what_to_do(trained: Path, copy: Path):
    (copy / LAST).unlink()
    for config, said in (
        (resumed(trained), r"last.safetensors: there is no checkpoint to resume from"),
        (toy.settings(trained.parent), r"already holds a run \(best.safetensors\)"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            run(config, copy)
        # nothing that the other way refuses
        assert f"init={copy}" in str(caught.value) and "name=" in str(caught.value)
        assert "resume=true" not in str(caught.value)
    (copy / LAST).write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"last.safetensors: not a checkpoint.*name="):
        run(resumed(trained), copy)


def test_the_rate_of_a_run_is_that_of_its_best_model(trained: Path, tmp_path: Path):
    assert best_rate(trained) == model_file.load(trained / BEST).card["valid"]["cer"] < 1
    assert best_rate(tmp_path) == float("inf")
