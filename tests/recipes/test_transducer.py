"""The transducer: loss, network and searches against enumeration, and a training that must learn."""

import itertools
import json
import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from carousel.common.data.manifest import Sample
from carousel.common.network import Network
from carousel.common.text.alphabet import Alphabet
from carousel.common.train.data import Corpus
from carousel.recipes.transducer.__main__ import main
from carousel.recipes.transducer.loss import transducer_loss
from carousel.recipes.transducer.model import load, read
from carousel.recipes.transducer.network import Transducer, scorer
from carousel.recipes.transducer.search import Prefix, Score, beam, greedy
from carousel.recipes.transducer.train import Plan, evaluate, fit
from tests.tiny import tiny_model
from tests.torchaudio_guard import import_torchaudio

SYMBOLS = 4
NETWORK = {"front": "stack", "stride": 1, "hidden": 12, "layers": 1}


def lattice(seed: int, *shape: int) -> Tensor:
    """Random log-probabilities, float64."""
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (2 * drawn).log_softmax(-1)


def enumerated(log_probs: Tensor, target: tuple[int, ...]) -> float:
    """-ln of the sum over all paths, each of which says in which frame every label is written."""
    frames = len(log_probs)
    paths = []
    for places in itertools.combinations_with_replacement(range(frames), len(target)):
        labels = [log_probs[t, u, target[u]] for u, t in enumerate(places)]
        blanks = [log_probs[t, sum(place <= t for place in places), 0] for t in range(frames)]
        paths.append(sum(labels) + sum(blanks))
    return -float(torch.stack(paths).logsumexp(0))


def recursion(log_probs: Tensor, target: tuple[int, ...]) -> Tensor:
    """-ln P by the forward recursion in plain torch."""
    alpha: dict[tuple[int, int], Tensor] = {(0, 0): torch.zeros((), dtype=log_probs.dtype)}
    for t, u in itertools.product(range(len(log_probs)), range(len(target) + 1)):
        ways = []
        if t:
            ways.append(alpha[t - 1, u] + log_probs[t - 1, u, 0])
        if u:
            ways.append(alpha[t, u - 1] + log_probs[t, u - 1, target[u - 1]])
        if ways:
            alpha[t, u] = torch.stack(ways).logsumexp(0)
    return -(alpha[len(log_probs) - 1, len(target)] + log_probs[-1, len(target), 0])


def one(log_probs: Tensor, target: tuple[int, ...]) -> Tensor:
    """The loss of a single sample."""
    counts = torch.tensor([len(target)])
    targets = torch.tensor([target], dtype=torch.long)
    return transducer_loss(log_probs[None], torch.tensor([len(log_probs)]), targets, counts)[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("target", [(), (2,), (1, 1), (3, 1, 2)])
def test_loss_is_the_sum_over_all_paths(target: tuple[int, ...], seed: int):
    for frames in range(1, 5):
        log_probs = lattice(seed, frames, len(target) + 1, SYMBOLS)
        assert float(one(log_probs, target)) == pytest.approx(enumerated(log_probs, target), rel=1e-12)


@pytest.mark.parametrize("target", [(), (1,), (2, 3, 2)])
def test_gradient_is_that_of_the_plain_recursion(target: tuple[int, ...]):
    for frames in (1, 2, 4):
        ours = lattice(frames, frames, len(target) + 1, SYMBOLS).requires_grad_()
        plain = ours.detach().clone().requires_grad_()
        (3 * one(ours, target)).backward()
        (3 * recursion(plain, target)).backward()
        torch.testing.assert_close(ours.grad, plain.grad)


BATCH = (torch.tensor([3, 1, 2]), torch.tensor([[1, 2], [3, 0], [0, 0]]), torch.tensor([2, 1, 0]))


def test_gradient_of_a_batch_is_that_of_differences():
    scores = lattice(5, 3, 3, 3, SYMBOLS).requires_grad_()
    for reduction in ("none", "sum", "mean"):
        assert torch.autograd.gradcheck(
            lambda x, how=reduction: transducer_loss(x.log_softmax(-1), *BATCH, how), (scores,)
        )


def test_sum_and_mean_are_of_the_losses():
    log_probs = lattice(6, 3, 3, 3, SYMBOLS)
    each = transducer_loss(log_probs, *BATCH)
    assert float(transducer_loss(log_probs, *BATCH, "sum")) == pytest.approx(float(each.sum()))
    assert float(transducer_loss(log_probs, *BATCH, "mean")) == pytest.approx(float(each.mean()))


def test_loss_is_torchaudios():
    torchaudio = import_torchaudio()
    if not (
        torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE and hasattr(torchaudio.functional, "rnnt_loss")
    ):
        pytest.skip("this torchaudio has no compiled part, or no rnnt_loss any more")
    ours = lattice(7, 3, 3, 3, SYMBOLS).float().requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    frames, targets, counts = (part.int() for part in BATCH)
    options = {"blank": 0, "reduction": "sum", "fused_log_softmax": False}
    loss = torchaudio.functional.rnnt_loss(theirs, targets, frames, counts, **options)
    loss.backward()
    total = transducer_loss(ours, *BATCH, "sum")
    total.backward()
    torch.testing.assert_close(total, loss)
    torch.testing.assert_close(ours.grad, theirs.grad)


@settings(max_examples=25)
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=4),
    st.integers(0, 2),
    st.integers(0, 2),
)
def test_padding_changes_nothing(seed: int, sizes: list[tuple[int, int]], more: int, wider: int):
    most, widest = (max(side) for side in zip(*sizes, strict=True))
    x = torch.full((len(sizes), most + more, widest + wider + 1, SYMBOLS), math.nan, dtype=torch.float64)
    targets = torch.full((len(sizes), widest + wider), 99)
    alone = []
    for row, (frames, count) in enumerate(sizes):
        x[row, :frames, : count + 1] = lattice(seed + row, frames, count + 1, SYMBOLS)
        targets[row, :count] = torch.randint(1, SYMBOLS, (count,), generator=torch.manual_seed(seed))
        own = x[row, :frames, : count + 1].clone().requires_grad_()
        alone.append((one(own, tuple(targets[row, :count].tolist())), own))
    x.requires_grad_()
    frames, counts = (torch.tensor(side) for side in zip(*sizes, strict=True))
    losses = transducer_loss(x, frames, targets, counts)
    losses.sum().backward()
    for row, (loss, own) in enumerate(alone):
        loss.backward()
        assert float(losses[row].detach()) == float(loss.detach())
        inside = x.grad[row, : sizes[row][0], : sizes[row][1] + 1].clone()
        torch.testing.assert_close(inside, own.grad, rtol=0, atol=0)
        x.grad[row, : sizes[row][0], : sizes[row][1] + 1] = 0
    assert not x.grad.any()


def test_a_target_that_cannot_be_has_an_infinite_loss():
    log_probs = torch.full((2, 2, SYMBOLS), -math.log(2.0))
    log_probs[:, 0, 1] = -math.inf
    assert float(one(log_probs, (1,))) == math.inf
    assert math.isfinite(float(one(log_probs, (2,))))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"frames": torch.tensor([4, 1, 2])}, "frames must be in 1 … 3"),
        ({"frames": torch.tensor([0, 1, 2])}, "frames must be in 1 … 3"),
        ({"counts": torch.tensor([3, 1, 0])}, "counts in 0 … 2"),
        ({"counts": torch.tensor([2, 2, 0])}, "targets must be in 1 … 3"),
        ({"targets": torch.tensor([[1, 4], [3, 0], [0, 0]])}, "targets must be in 1 … 3"),
        ({"targets": torch.ones(3, 3, dtype=torch.long)}, "must be .batch, frames"),
        ({"frames": torch.tensor([3, 1])}, "one number for each of the 3"),
        ({"reduction": "all"}, "there are none, sum, mean"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], said: str):
    names = ("frames", "targets", "counts")
    with pytest.raises(ValueError, match=said):
        transducer_loss(lattice(1, 3, 3, 3, SYMBOLS), **dict(zip(names, BATCH, strict=True)) | changed)


def toy(seed: int, draw: Callable[[np.random.Generator], np.ndarray]) -> Score:
    """A distribution of its own for each prefix and frame."""

    @cache
    def score(prefix: Prefix, frame: int) -> np.ndarray:
        logits = draw(np.random.default_rng((seed, frame, *prefix, len(prefix))))
        return logits - np.log(np.exp(logits).sum())

    return score


def even(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=3)


def peaked(rng: np.random.Generator) -> np.ndarray:
    """One symbol has 0.97 or more, more often than not the blank."""
    return 8.0 * np.eye(SYMBOLS)[rng.choice(SYMBOLS, p=[0.6, 0.2, 0.1, 0.1])] + rng.random(SYMBOLS)


def every_text(score: Score, frames: int, longest: int) -> dict[Prefix, float]:
    """ln P of all texts of two labels, by the loss, which has been checked by enumeration."""
    found = {}
    for length in range(longest + 1):
        for text in itertools.product((1, 2), repeat=length):
            rows = [[score(text[:u], t) for u in range(length + 1)] for t in range(frames)]
            found[text] = -float(one(torch.tensor(np.array(rows)), text))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_beam_as_wide_as_everything_is_enumeration(seed: int):
    score, frames, longest = toy(seed, even), 3, 3
    exact = every_text(score, frames, longest)
    found = beam(score, frames, len(exact), longest)
    assert dict(found) == pytest.approx(exact, rel=1e-9)
    assert found[0][0] == max(exact, key=exact.__getitem__)
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)


def test_a_narrow_beam_loses_paths_and_never_counts_one_twice():
    better = 0
    for seed in range(20):
        score = toy(seed, even)
        exact = every_text(score, 3, 3)
        for width in (1, 2, 4):
            found = beam(score, 3, width, 3)
            assert len(found) == width
            assert all(mass <= exact[text] + 1e-9 for text, mass in found)
        better += exact[beam(score, 3, 4, 3)[0][0]] > exact[beam(score, 3, 1, 3)[0][0]]
    assert better  # or width would change nothing


def test_of_a_network_that_is_sure_one_text_is_enough():
    """Greedy and a beam of 1 are the same where the next best is less likely than all steps of a frame."""
    lengths = set()
    for seed in range(20):
        score = toy(seed, peaked)
        ((best, path),) = greedy(score, 8, 50)
        ((text, mass),) = beam(score, 8, 1, 50)
        assert text == best and mass >= path - 1e-9
        lengths.add(len(text))
    assert len(lengths) > 3


def test_greedy_writes_so_many_labels_in_a_frame_and_no_more():
    score = toy(1, lambda rng: np.array([-9.0, 0.0, -1.0]))
    ((text, path),) = greedy(score, 4, 3)
    assert text == (1,) * 12 and path == pytest.approx(12 * float(score((), 0)[1]))
    assert beam(score, 4, 63, 5)[0][0] == (1,) * 5  # of all 63 texts of five labels and less
    assert greedy(score, 0, 3) == beam(score, 0, 2) == [((), 0.0)]


def tiny(seed: int = 1) -> Transducer:
    torch.manual_seed(seed)
    return Transducer(Network(SYMBOLS, SYMBOLS, NETWORK), predicting=8, joint=10, dropout=0.0)


def test_the_search_sees_what_the_training_sees():
    network, target = tiny().eval(), torch.tensor([[2, 1, 3], [1, 0, 0]])
    x, lengths, counts = torch.randn(2, 9, SYMBOLS), torch.tensor([9, 7]), torch.tensor([3, 1])
    with torch.inference_mode():
        log_probs, frames = network(x, lengths, target, counts)
        encoded, _ = network.encode(x, lengths)
    assert log_probs.shape == (2, 9, 4, SYMBOLS) and frames.tolist() == [9, 7]
    for row, count in enumerate(counts.tolist()):
        score = scorer(network, encoded[row].numpy())
        for t, u in itertools.product(range(int(frames[row])), range(count + 1)):
            found = score(tuple(target[row, :u].tolist()), t)
            np.testing.assert_allclose(found, log_probs[row, t, u], atol=1e-5)


def spelled(count: int, seed: int) -> Corpus:
    """Labels that are seen for one to three frames each, with a frame of nothing after them, in noise."""
    rng = np.random.default_rng(seed)
    targets, arrays = [], []
    for _ in range(count):
        target = rng.integers(1, SYMBOLS, rng.integers(2, 5))
        shown = np.concatenate([[label] * rng.integers(1, 4) + [0] for label in target])
        targets.append(target)
        arrays.append((np.eye(SYMBOLS)[shown] + rng.normal(0, 0.2, (len(shown), SYMBOLS))).astype(np.float32))
    samples = [Sample("", where=str(index)) for index in range(count)]
    return Corpus(samples, targets, [len(a) for a in arrays], lambda sample, _: arrays[int(sample.where)])


def test_a_training_from_random_weights_learns():
    network, rows = tiny(), []
    corpus, held = spelled(100, 1), spelled(30, 2)
    plan = Plan(epochs=16, batch=60, rate=0.02, tuned=True, varied=False)
    fit(network, corpus, plan, lambda average, row: rows.append(row))
    assert rows[-1]["loss"] < rows[0]["loss"] / 5
    arrays, letters = [held.read(sample, None) for sample in held.samples], Alphabet("abc")
    truth = [letters.decode(target.tolist()) for target in held.targets]
    for search in (partial(greedy, most=3), partial(beam, width=4)):
        found = read(network.eval(), arrays, letters, search)
        assert sum(a == b for a, b in zip(found, truth, strict=True)) >= 20


def test_an_encoder_that_is_not_tuned_stays_as_it_was():
    network = tiny()
    network.lstm.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit(network, spelled(8, 1), Plan(epochs=1, batch=100), lambda average, row: None)
    changed = {
        name.split(".")[0] for name, tensor in network.state_dict().items() if (tensor != before[name]).any()
    }
    assert changed == {"prediction", "of_frame", "of_labels", "head"}


def manifest(path: Path) -> Path:
    rng = np.random.default_rng(1)
    rows = [
        {"strokes": [rng.integers(0, 90, 60).tolist()], "text": text} for text in ("bad", "cab", "a hedge")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_commands_train_and_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ctc, data = tiny_model(tmp_path / "ctc.safetensors", "ink"), manifest(tmp_path / "m.jsonl")
    out = tmp_path / "out"
    words = ["train", out, "--ctc", ctc, "--train", data, "--valid", data, "--epochs", 2, "--rate", 0.01]
    assert main([str(word) for word in words]) == 0
    assert capsys.readouterr().out.count("valid_cer") == 2
    description = json.loads((out / "transducer.json").read_text())
    assert description["plan"]["epochs"] == 2 and description["plan"]["seed"] == 1
    assert main(["evaluate", str(out), str(data), "--beam", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:22].strip() for line in lines] == [
        "ctc, greedy",
        "transducer, greedy",
        "transducer, beam 2",
    ]
    network, ctc_model = load(out)
    found = evaluate(network, ctc_model, data, 2, 5)
    assert found["transducer, greedy"]["items"] == 3
    for line, report in zip(lines, found.values(), strict=True):
        assert f"CER {report['cer']:.2%} [" in line and f"WER {report['wer']:.2%} [" in line
    # half precision, in which the weights are kept, may turn a letter of these dozen
    assert found["transducer, greedy"]["cer"] == pytest.approx(description["best"]["valid_cer"], abs=0.15)


def test_what_is_no_transducer_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", str(tmp_path), str(tmp_path / "m.jsonl")]) == 1
    assert "is not the folder of a transducer" in capsys.readouterr().err
    ctc, data = tiny_model(tmp_path / "ctc.safetensors", "ink"), manifest(tmp_path / "m.jsonl")
    words = ["train", tmp_path, "--ctc", ctc, "--train", data, "--valid", data, "--epochs", 1]
    assert main([str(word) for word in words]) == 0
    ctc.unlink()
    with pytest.raises(ValueError, match="there is no such model file"):
        load(tmp_path)
