"""Batches as processes of their own read them."""

import csv
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from carousel.common.ctc.loss import can_align, ctc_loss
from carousel.common.train import loop as training
from carousel.common.train.data import MemoryCache
from tests.common import toy


@pytest.fixture
def spawned():
    """As on macOS and Windows."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("spawned")
def test_workers_that_are_spawned_give_the_same_training(tmp_path: Path):
    from safetensors.torch import load_file

    toy.make_manifest(tmp_path / "train.jsonl", 1500, 1)  # more than a process may have files open
    for workers in (0, 1):
        config = toy.settings(tmp_path, epochs=1, workers=workers, max_frames=4000, max_items=200)
        config["trainer"] |= {"checkpoint_minutes": 10}
        training.train(config, toy.read, toy.size, tmp_path / str(workers))
    one, other = (load_file(tmp_path / name / "last.safetensors") for name in "01")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_cache_travels_empty():
    cache = MemoryCache(100)
    cache["a"], cache["b"] = np.zeros(60, np.uint8), np.zeros(60, np.uint8)
    assert list(cache) == ["a"]
    other = pickle.loads(pickle.dumps(cache))
    assert not other
    other["b"] = np.zeros(60, np.uint8)
    assert list(other) == ["b"]


def test_a_loss_of_exactly_0_is_no_sample_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "ctc_loss", lambda *given, **more: 0 * ctc_loss(*given, **more))
    config = toy.settings(tmp_path, epochs=1)
    training.train(config, toy.read, toy.size, tmp_path / "run")
    (row,) = csv.DictReader(open(tmp_path / "run" / "metrics.csv"))
    assert row["skipped"] == "0" and float(row["train_loss"]) == 0


def test_what_can_be_aligned_is_what_has_a_finite_loss():
    targets = [[1, 2], [1, 1], [1, 1], [], [3, 3, 3]]
    lengths = torch.tensor([2, 2, 3, 1, 9])
    scores = torch.randn(5, 9, 4).log_softmax(-1)
    joined, sizes = (
        torch.tensor([k for target in targets for k in target]),
        torch.tensor(list(map(len, targets))),
    )
    finite = ctc_loss(scores, lengths, joined, sizes).isfinite()
    assert can_align(lengths, joined, sizes).tolist() == finite.tolist() == [True, False, True, True, True]


def test_tensorboard_has_one_file_a_run(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = toy.settings(tmp_path, epochs=3, tensorboard=True)
    training.train(config, toy.read, toy.size, tmp_path / "run")
    longer = toy.settings(tmp_path, epochs=5, tensorboard=True) | {"resume": True}
    training.train(longer, toy.read, toy.size, tmp_path / "run")
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    events = EventAccumulator(str(file)).Reload()
    assert [event.step for event in events.Scalars("valid_cer")] == [1, 2, 3, 4, 5]
