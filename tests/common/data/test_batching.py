import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carousel.common.data.batching import bucketed_batches, pad, share

lengths = st.lists(st.integers(1, 500), min_size=1, max_size=200)


@given(lengths, st.integers(1, 2000), st.integers(1, 20), st.booleans())
def test_every_sample_is_in_one_batch_and_batches_keep_their_bounds(lengths, max_frames, max_items, shuffle):
    batches = bucketed_batches(lengths, max_frames, max_items, seed=1, epoch=2, shuffle=shuffle)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= max_items
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= max_frames


def test_the_order_depends_on_seed_and_epoch_alone():
    lengths = list(np.random.default_rng(0).integers(10, 400, 300))
    args = (lengths, 4000, 32)
    assert bucketed_batches(*args, seed=1, epoch=3) == bucketed_batches(*args, seed=1, epoch=3)
    assert bucketed_batches(*args, seed=1, epoch=3) != bucketed_batches(*args, seed=1, epoch=4)
    assert bucketed_batches(*args, seed=1, epoch=3) != bucketed_batches(*args, seed=2, epoch=3)


def test_like_lengths_share_a_batch():
    lengths = np.random.default_rng(0).integers(10, 1000, 2000)
    batches = bucketed_batches(lengths.tolist(), 16000, 64, seed=0, epoch=0)
    padded = sum(len(b) * lengths[b].max() for b in batches)
    assert padded < 1.25 * lengths.sum()  # 2 × without buckets


@given(st.integers(0, 30), st.integers(1, 5))
def test_processes_share_all_batches_evenly(count, world):
    batches = [[k] for k in range(count)]
    parts = [share(batches, rank, world) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    assert {b[0] for part in parts for b in part} == set(range(count))


def test_padding_is_zero():
    x, lengths = pad([np.ones((2, 3), np.float32), np.full((4, 3), 2, np.float32)])
    assert x.shape == (2, 4, 3) and lengths.tolist() == [2, 4]
    assert x[0, 2:].abs().sum() == 0 and x[0, :2].eq(1).all() and x[1].eq(2).all()
