import csv
import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from safetensors.torch import load_file

from carousel.common.data.manifest import read_manifest, write_manifest
from carousel.common.decoding import decode
from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.train.loop import train
from carousel.common.train.optimizers import learning_rate
from tests.common import toy
from tests.conftest import REPOSITORY


def run(config: dict, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return train(config, toy.read, toy.size, folder)


def program(config: dict, folder: Path, launcher: tuple[str, ...] = ("-m",)) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, *launcher, "tests.common.toy", str(folder / "config.json"), str(folder)]
    return subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"})


def same_tensors(a: Path, b: Path) -> bool:
    left, right = load_file(a), load_file(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training."""
    folder = tmp_path_factory.mktemp("toy")
    run(toy.settings(folder), folder / "run")
    return folder / "run"


def test_it_learns_and_the_run_folder_is_whole(trained: Path):
    rows = list(csv.DictReader(open(trained / "metrics.csv")))
    assert [int(r["epoch"]) for r in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["valid_cer"]) < 0.05 < float(rows[0]["valid_cer"])
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert {"best.safetensors", "last.safetensors", "curves.png", "metrics.csv"} <= set(os.listdir(trained))
    assert not list(trained.glob("*.partial"))


def test_a_watched_sample_has_a_picture_for_each_validation_and_changes_nothing(trained, tmp_path):
    config = toy.settings(tmp_path)
    config["trainer"] |= {"watch": 2}
    run(config, tmp_path / "run")
    columns = ("train_loss", "valid_loss", "valid_cer")
    watched, plain = (
        [[row[name] for name in columns] for row in csv.DictReader(open(folder / "metrics.csv"))]
        for folder in (tmp_path / "run", trained)
    )
    assert watched == plain
    pictures = sorted((tmp_path / "run" / "spikes").glob("*.png"))
    assert [path.stem for path in pictures] == [f"{epoch:04d}" for epoch in range(1, 7)]
    with Image.open(tmp_path / "run" / "spikes.gif") as animation:
        frames = [np.asarray(frame.convert("L")).copy() for frame in ImageSequence.Iterator(animation)]
    assert len(frames) == 6 and (frames[0] != frames[-1]).any()


def test_a_watched_sample_must_be_there(tmp_path):
    config = toy.settings(tmp_path)
    config["trainer"] |= {"watch": 1000}
    with pytest.raises(InputError, match=r"trainer.watch=1000: the valid set has only 30 samples"):
        run(config, tmp_path / "run")


def test_the_best_model_reads_as_the_metrics_say(trained: Path):
    model = model_file.load(trained / "best.safetensors")
    assert (model.domain, model.size, model.stride) == ("ink", toy.SIZE, 2)
    assert model.card["licence"] == "none" and model.card["training"]["seed"] == 3
    samples = list(read_manifest(trained.parent / "valid.jsonl"))
    features = [toy.read(s, {}) for s in samples]
    texts = [decode(scores, model.alphabet)[0].text for scores in model.log_probs(features)]
    right = sum(text == s.text for text, s in zip(texts, samples, strict=True))
    assert right >= 27
    alone = [model.log_probs([f])[0] for f in features]
    for one, batched in zip(alone, model.log_probs(features), strict=True):
        np.testing.assert_allclose(one, batched, atol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(trained: Path, tmp_path: Path):
    config = toy.settings(trained.parent)
    run(config, tmp_path / "again")
    assert same_tensors(trained / "last.safetensors", tmp_path / "again" / "last.safetensors")
    run(config | {"seed": 4}, tmp_path / "other")
    assert not same_tensors(trained / "last.safetensors", tmp_path / "other" / "last.safetensors")


def test_after_sigkill_resume_gives_the_same_weights(trained: Path, tmp_path: Path):
    config = toy.settings(trained.parent)
    folder = tmp_path / "killed"
    process = program(config, folder)
    deadline = time.monotonic() + 60
    while not (folder / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # into the second epoch or a later one
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    state = json.loads(_metadata(folder / "last.safetensors"))["state"]
    assert state["step"] < json.loads(_metadata(trained / "last.safetensors"))["state"]["step"]
    run(config | {"resume": True}, folder)
    assert same_tensors(trained / "last.safetensors", folder / "last.safetensors")
    assert same_tensors(trained / "best.safetensors", folder / "best.safetensors")


def _metadata(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata()["carousel-training"]


def test_resuming_in_the_middle_of_an_epoch_is_exact(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from carousel.common.train import loop as training

    steps = training._Training._step
    calls = 0

    def break_off(self, *arguments):
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        return steps(self, *arguments)

    config = toy.settings(trained.parent)
    monkeypatch.setattr(training._Training, "_step", break_off)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "run")
    monkeypatch.undo()
    assert json.loads(_metadata(tmp_path / "run" / "last.safetensors"))["state"]["done"] > 0
    run(config | {"resume": True}, tmp_path / "run")
    assert same_tensors(trained / "last.safetensors", tmp_path / "run" / "last.safetensors")


def test_resume_refuses_what_does_not_fit(trained: Path, tmp_path: Path):
    config = toy.settings(trained.parent)
    with pytest.raises(InputError, match="no checkpoint"):
        run(config | {"resume": True}, tmp_path / "empty")
    wider = config | {"resume": True, "network": config["network"] | {"hidden": 16}}
    with pytest.raises(InputError, match="another network"):
        run(wider, trained)
    with pytest.raises(InputError, match="another alphabet"):
        run(config | {"resume": True, "alphabet": "abcde"}, trained)


def test_a_sample_that_cannot_be_aligned_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    config = toy.settings(tmp_path, epochs=1)
    rows = [{"strokes": s.strokes, "text": s.text} for s in read_manifest(tmp_path / "train.jsonl")]
    rows.insert(1, {"strokes": [np.array([[0, 4]])], "text": "aa"})  # two frames, and three are needed
    write_manifest(tmp_path / "train.jsonl", rows)
    with caplog.at_level(logging.WARNING):
        run(config, tmp_path / "run")
    assert "1 × too short for its text" in caplog.text and "train.jsonl:2" in caplog.text


def test_a_validation_sample_is_never_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    config = toy.settings(tmp_path, epochs=1)
    rows = [{"strokes": s.strokes, "text": s.text} for s in read_manifest(tmp_path / "valid.jsonl")]
    rows.append({"strokes": [np.array([[0, 4]])], "text": "zzzz"})
    write_manifest(tmp_path / "valid.jsonl", rows)
    with caplog.at_level(logging.INFO):
        run(config, tmp_path / "run")
    assert "valid: 31 samples" in caplog.text and "U+007A" in caplog.text


def test_a_sample_varied_beyond_reading_is_taken_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    unvaried = []

    def read(sample, features, augment=None, rng=None, cache=None):
        if rng is not None and not sample.where.endswith(":1"):
            raise InputError("no ink found")
        unvaried.append(sample.where)
        return toy.read(sample, features)

    with caplog.at_level(logging.WARNING):
        best = train(toy.settings(tmp_path, epochs=1), read, toy.size, tmp_path)
    assert best.exists()
    # once for their lengths, once for the epoch, and the first one twice more to try the settings
    assert len(unvaried) == 2 * 120 + 2 * 30 + 2
    assert "119 samples could not be read when varied" in caplog.text
    assert next(csv.DictReader(open(tmp_path / "metrics.csv")))["unvaried"] == "119"


@pytest.mark.parametrize("error", [InputError("ink has no rotatoin"), TypeError("must be real number")])
def test_augment_settings_that_vary_no_sample_are_refused(tmp_path: Path, error: Exception):
    def read(sample, features, augment=None, rng=None, cache=None):
        if rng is not None:
            raise error
        return toy.read(sample, features)

    with pytest.raises(InputError, match=f"augment settings.*{error}"):
        train(toy.settings(tmp_path, epochs=1), read, toy.size, tmp_path)


def test_augment_settings_are_tried_with_every_change_however_seldom(tmp_path: Path):
    def read(sample, features, augment=None, rng=None, cache=None):
        if rng is not None and rng.random() < augment["blur"]["probability"]:
            rng.uniform(*augment["blur"]["range"])
        return toy.read(sample, features)

    config = toy.settings(tmp_path, epochs=1) | {"augment": {"blur": {"probability": 1e-9, "range": 5}}}
    with pytest.raises(InputError, match=r"augment settings cannot be used, augment.blur={.*'range': 5}"):
        train(config, read, toy.size, tmp_path)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_named_and_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, poison: float
):
    config = toy.settings(tmp_path, epochs=2)
    hurt = next(read_manifest(tmp_path / "train.jsonl"))

    def read(sample, features, augment=None, rng=None, cache=None):
        frames = toy.read(sample, features, augment, rng, cache)
        if rng is not None and sample.where == hurt.where:
            frames[0] = poison
        return frames

    (tmp_path / "run").mkdir()
    with caplog.at_level(logging.WARNING):
        best = train(config, read, toy.size, tmp_path / "run")
    assert "not finite" in caplog.text and hurt.where in caplog.text
    assert all(t.isfinite().all() for t in load_file(best).values())
    assert float(list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))[-1]["train_loss"]) > 0


def test_init_takes_weights_over_and_symbols_by_character(trained: Path, tmp_path: Path):
    config = toy.settings(trained.parent, epochs=1) | {
        "alphabet": "dcbax",
        "init": str(trained / "best.safetensors"),
    }
    config["optimizer"] = config["optimizer"] | {"rate": 1e-9, "weight_noise": 0.0, "weight_decay": 0.0}
    run(config, tmp_path / "run")
    row = next(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    assert float(row["valid_cer"]) < 0.2  # without a step of training


def test_a_run_is_not_written_over(trained: Path):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    with pytest.raises(InputError, match=r"already holds a run.*resume=true.*name=.*hydra.run.dir=.*remove"):
        run(toy.settings(trained.parent, epochs=1), trained)
    config = toy.settings(trained.parent)
    with pytest.raises(InputError, match="another network"):
        run(config | {"resume": True, "network": config["network"] | {"hidden": 16}}, trained)
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def test_a_run_that_cannot_begin_leaves_no_config_behind(tmp_path: Path):
    config = toy.settings(tmp_path)
    config["data"] = config["data"] | {"valid": str(tmp_path / "gone.jsonl")}
    with pytest.raises(InputError, match="gone"):
        run(config, tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("trainer", "last", "validated"),
    [
        ({"patience": 2, "validate_every": 5, "epochs": 7}, "7", ["5", "7"]),
        ({"minutes": 1e-4, "validate_every": 5}, "1", ["1"]),
    ],
)
def test_whatever_stops_a_training_there_is_a_model(
    tmp_path: Path, trainer: dict, last: str, validated: list[str]
):
    best = run(toy.settings(tmp_path, **trainer), tmp_path / "run")
    rows = list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    assert best.exists() and rows[-1]["epoch"] == last
    assert [row["epoch"] for row in rows if row["valid_cer"]] == validated


def test_a_training_broken_off_before_its_first_validation_still_comes_to_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from carousel.common.train import loop as training

    def break_off(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(training._Training, "_validate", break_off)
    config = toy.settings(tmp_path, validate_every=2)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "run")
    monkeypatch.undo()
    again = toy.settings(tmp_path, minutes=1e-6) | {"resume": True}
    assert run(again, tmp_path / "run").exists()


def test_it_stops_when_the_minutes_are_up_or_patience_is(tmp_path: Path):
    run(toy.settings(tmp_path, minutes=1e-4, epochs=50), tmp_path / "short")
    assert len(list(csv.DictReader(open(tmp_path / "short" / "metrics.csv")))) == 1
    config = toy.settings(tmp_path, patience=2, epochs=50)
    config["optimizer"] = config["optimizer"] | {"rate": 1e-9}
    run(config, tmp_path / "patient")
    assert len(list(csv.DictReader(open(tmp_path / "patient" / "metrics.csv")))) < 10


def test_two_processes_learn_one_model(tmp_path: Path):
    config = toy.settings(tmp_path, epochs=10, max_frames=200)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
    assert program(config, tmp_path / "two", launcher).wait(timeout=120) == 0
    rows = list(csv.DictReader(open(tmp_path / "two" / "metrics.csv")))
    assert len(rows) == 10 and float(rows[-1]["valid_cer"]) < 0.3
    run(config, tmp_path / "one")
    steps = [
        int(list(csv.DictReader(open(tmp_path / d / "metrics.csv")))[-1]["step"]) for d in ("one", "two")
    ]
    assert steps[1] <= steps[0] / 2 + 5  # each process does half of the batches


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine", "exponential"])
def test_schedules_rise_and_end_where_they_say(kind: str):
    settings = {"rate": 0.5, "warmup": 0.2, "final": 0.1, "schedule": kind}
    rates = [learning_rate(settings, k / 100) for k in range(101)]
    assert rates[:21] == sorted(rates[:21]) and max(rates) == pytest.approx(0.5)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(0.5 if kind == "constant" else 0.05)
    with pytest.raises(InputError, match="schedule"):
        learning_rate(settings | {"schedule": "zigzag"}, 0.5)


def test_sgd_with_momentum_learns_too(tmp_path: Path):
    config = toy.settings(tmp_path, epochs=8)
    sgd = {
        "kind": "sgd",
        "rate": 0.2,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
    }
    config["optimizer"] = config["optimizer"] | sgd
    run(config, tmp_path / "run")
    rows = list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    assert float(rows[-1]["train_loss"]) < 0.5 * float(rows[0]["train_loss"])
