import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from carousel.common.ctc.loss import ctc_loss, forced_align, frames_needed, log_likelihood, posteriors
from carousel.common.errors import InputError
from tests.oracles import ctc as oracle


def lattice(seed: int, frames: int, symbols: int, sharpness: float = 2.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(scale=sharpness, size=(frames, symbols))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


LATTICES = st.builds(
    lattice, st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 4), st.sampled_from([0.1, 2.0, 8.0])
)
TARGETS = st.lists(st.integers(1, 3), max_size=4)


def possible(log_probs, target) -> bool:
    return len(log_probs) >= frames_needed(target) and max(target, default=0) < log_probs.shape[1]


def test_frames_needed_counts_symbols_and_repeats():
    assert frames_needed([]) == 0
    assert frames_needed([1, 2, 1]) == 3
    assert frames_needed(np.array([1, 1, 1])) == 5
    assert frames_needed(torch.tensor([2, 2, 3, 3])) == 6


@given(st.lists(st.integers(1, 2), max_size=4), st.integers(1, 6))
def test_frames_needed_is_the_least_that_enumeration_finds(target, frames):
    texts = oracle.texts(np.full((frames, 3), -math.log(3)))
    assert (tuple(target) in texts) == (frames >= frames_needed(target))


@given(LATTICES, TARGETS)
def test_likelihood_is_the_sum_over_all_paths(log_probs, target):
    assume(possible(log_probs, target))
    assert log_likelihood(log_probs, target) == pytest.approx(oracle.texts(log_probs)[tuple(target)].total)


@settings(deadline=None)  # the first example compiles
@given(LATTICES, TARGETS)
def test_alignment_is_the_best_path(log_probs, target):
    assume(possible(log_probs, target))
    spans = forced_align(log_probs, target)
    path = oracle.path_of(target, [(start, end) for start, end, _ in spans], len(log_probs))
    assert oracle.collapse(path) == tuple(target)
    score = sum(log_probs[frame, index] for frame, index in enumerate(path))
    assert score == pytest.approx(oracle.texts(log_probs)[tuple(target)].best)
    for (start, end, confidence), index in zip(spans, target, strict=True):
        assert confidence == pytest.approx(np.exp(log_probs[start:end, index].max()))


@given(LATTICES, TARGETS)
def test_posteriors_are_the_occupation_of_all_paths(log_probs, target):
    assume(possible(log_probs, target))
    np.testing.assert_allclose(posteriors(log_probs, target), oracle.occupation(log_probs, target), atol=1e-9)


def test_paths_of_probability_zero():
    blank_only = np.log(np.array([[0.5, 0.5], [1.0, 1e-300], [0.5, 0.5]]))
    blank_only[1, 1] = -np.inf
    assert [span[:2] for span in forced_align(blank_only, [1, 1])] == [(0, 1), (2, 3)]
    np.testing.assert_allclose(posteriors(blank_only, [1, 1]), np.eye(5)[[1, 2, 3]])
    assert log_likelihood(blank_only[1:2], [1]) == -np.inf
    for function in (forced_align, posteriors):
        with pytest.raises(InputError, match="probability 0"):
            function(blank_only[1:2], [1])


@pytest.mark.parametrize("function", [forced_align, posteriors])
def test_targets_that_cannot_be_aligned_are_input_errors(function):
    log_probs = lattice(0, 3, 3)
    with pytest.raises(InputError, match=r"at least 4 output frames and there are 3"):
        function(log_probs, [1, 1, 2])
    with pytest.raises(InputError, match="indices outside 1 … 2"):
        function(log_probs, [3])
    with pytest.raises(InputError, match="indices outside"):
        function(log_probs, [0])
    with pytest.raises(InputError, match="NaN"):
        function(np.full((3, 3), np.nan), [1])


def test_empty_targets_and_empty_inputs():
    log_probs = lattice(0, 3, 3)
    assert forced_align(log_probs, []) == []
    np.testing.assert_allclose(posteriors(log_probs, []), np.ones((3, 1)), rtol=1e-12)
    assert log_likelihood(log_probs, []) == pytest.approx(log_probs[:, 0].sum())
    assert forced_align(np.zeros((0, 3)), []) == []
    assert log_likelihood(np.zeros((0, 3)), []) == 0
    assert log_likelihood(np.zeros((0, 3)), [1]) == -np.inf
    assert posteriors(np.zeros((0, 3)), []).shape == (0, 1)


def ragged_batch():
    """Log-probabilities (4, 12, 5) with rubbish behind each sample's length, lengths, targets."""
    lengths = torch.tensor([12, 7, 9, 5])
    targets = [torch.tensor(t, dtype=torch.long) for t in ([1, 1, 2, 3], [4], [], [2, 2, 2])]
    log_probs = torch.from_numpy(np.stack([lattice(seed, 12, 5) for seed in range(4)])).float()
    for row, length in enumerate(lengths):
        log_probs[row, length:] = 1e3
    return log_probs, lengths, targets


def test_loss_of_each_sample_is_that_of_the_sample_alone():
    log_probs, lengths, targets = ragged_batch()
    losses = ctc_loss(log_probs, lengths, targets)
    expected = [
        -log_likelihood(rows[:length].numpy(), target.numpy())
        for rows, length, target in zip(log_probs, lengths, targets, strict=True)
    ]
    assert losses.shape == (4,)
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-5)


def test_loss_takes_padded_targets():
    log_probs, lengths, targets = ragged_batch()
    padded = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)
    target_lengths = torch.tensor([len(target) for target in targets])
    assert torch.equal(
        ctc_loss(log_probs, lengths, padded, target_lengths), ctc_loss(log_probs, lengths, targets)
    )
    with pytest.raises(TypeError, match="target_lengths"):
        ctc_loss(log_probs, lengths, padded)


def test_loss_of_what_cannot_be_aligned_is_infinite_and_harms_no_neighbour():
    log_probs, lengths, targets = ragged_batch()
    whole = ctc_loss(log_probs, lengths, targets)
    targets[3] = torch.tensor([2, 2, 2, 2])  # 7 frames needed, 5 there
    losses = ctc_loss(log_probs, lengths, targets)
    assert losses[3] == math.inf
    assert torch.equal(losses[:3], whole[:3])
    zeroed = ctc_loss(log_probs.requires_grad_(), lengths, targets, zero_infinity=True)
    zeroed.sum().backward()
    assert torch.equal(zeroed[:3].detach(), whole[:3])
    assert zeroed[3] == 0
    assert not log_probs.grad[3].any()
    assert log_probs.grad[:3].isfinite().all()


def test_loss_is_in_single_precision_for_half_precision_networks():
    log_probs, lengths, targets = ragged_batch()
    log_probs = log_probs.clamp(max=0).bfloat16()
    losses = ctc_loss(log_probs, lengths, targets)
    assert losses.dtype == torch.float32
    assert torch.equal(losses, ctc_loss(log_probs.float(), lengths, targets))


def test_loss_refuses_lengths_that_are_fractions():
    log_probs, lengths, targets = ragged_batch()
    with pytest.raises(TypeError, match="integers"):
        ctc_loss(log_probs, lengths / 12, targets)


def test_gradient_is_output_minus_posteriors():
    """Graves 2006, equation 16, by two implementations: torch's backward pass and our posteriors."""
    log_probs, target = lattice(5, 9, 4), [1, 3, 3, 2]
    logits = torch.from_numpy(log_probs).float().requires_grad_()
    ctc_loss(logits.log_softmax(-1)[None], torch.tensor([9]), [torch.tensor(target)]).sum().backward()
    occupied = posteriors(log_probs, target)
    expected = np.exp(log_probs)
    for state, index in enumerate([0, 1, 0, 3, 0, 3, 0, 2, 0]):
        expected[:, index] -= occupied[:, state]
    np.testing.assert_allclose(logits.grad.numpy(), expected, atol=1e-5)


def test_long_inputs_do_not_underflow():
    rng = np.random.default_rng(0)
    log_probs, target = lattice(1, 10_000, 6), rng.integers(1, 6, 200)
    expected = ctc_loss(torch.from_numpy(log_probs)[None], torch.tensor([10_000]), [torch.from_numpy(target)])
    assert log_likelihood(log_probs, target) == pytest.approx(-expected.item(), rel=1e-4)
    occupied = posteriors(log_probs, target)
    np.testing.assert_allclose(occupied.sum(axis=1), 1, atol=1e-6)
    assert len(forced_align(log_probs, target)) == 200
