import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.errors import InputError
from carousel.common.network import Network

FRONTS = {
    "stack": {"front": "stack", "stride": 3},
    "conv1d": {
        "front": "conv1d",
        "convolutions": [
            {"channels": 6, "kernel": 5, "stride": 2},
            {"channels": 7, "kernel": 3, "stride": 2},
        ],
    },
    "conv2d": {
        "front": "conv2d",
        "convolutions": [
            {"channels": 4, "kernel": [3, 5], "stride": [2, 2]},
            {"channels": 5, "kernel": [5, 3], "stride": [2, 2]},
        ],
    },
    "mdlstm": {
        "front": "mdlstm",
        "block": [2, 4],
        "levels": [
            {"hidden": 3, "block": [3, 2], "units": 6},
            {"hidden": 4, "block": [1, 1], "units": 7},
        ],
    },
}
STRIDES = {"stack": 3, "conv1d": 4, "conv2d": 4, "mdlstm": 6}
SIZE = 9


def network(front: str, cell: str = "lstm", **more) -> Network:
    torch.manual_seed(0)
    net = Network(SIZE, 11, {"hidden": 8, "layers": 2, "cell": cell, "dropout": 0.3} | FRONTS[front] | more)
    with torch.no_grad():
        for p in net.parameters():  # biases that are not zero show what reaches into padding
            p.add_(torch.randn_like(p) * 0.1)
    return net.eval()


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(FRONTS)),
    st.sampled_from(["lstm", "peephole"]),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_a_row_of_a_padded_batch_gives_what_it_gives_alone(front, cell, lengths):
    net = network(front, cell)
    x = torch.randn(len(lengths), max(lengths), SIZE) * 3
    for row, length in enumerate(lengths):
        x[row, length:] = 0  # as common.data.batching.pad does
    log_probs, out_lengths = net(x, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone, (out_length,) = net(x[row : row + 1, :length], torch.tensor([length]))
        assert out_lengths[row] == out_length == -(-length // STRIDES[front]) == alone.shape[1]
        torch.testing.assert_close(log_probs[row, :out_length], alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("front", sorted(FRONTS))
def test_every_stage_keeps_padding_out(front: str):
    net = network(front)
    x = torch.randn(2, 24, SIZE)
    x[1, 10:] = 0
    lengths = torch.tensor([24, 10])
    h, h_lengths = net.front(x, lengths)
    alone, _ = net.front(x[1:, :10], lengths[1:])
    torch.testing.assert_close(h[1:, : h_lengths[1]], alone, rtol=0, atol=1e-6)
    assert h[1, h_lengths[1] :].abs().sum() == 0
    assert net.lstm(h, h_lengths)[1, h_lengths[1] :].abs().sum() == 0


@pytest.mark.parametrize("front", sorted(FRONTS))
def test_outputs_are_log_probabilities_and_the_stride_is_true(front: str):
    net = network(front)
    log_probs, _ = net(torch.randn(2, 24, SIZE), torch.tensor([24, 20]))
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(log_probs.shape[:2]))
    assert net.stride == STRIDES[front]


@pytest.mark.parametrize("front", sorted(FRONTS))
def test_every_weight_has_a_gradient(front: str):
    net = network(front, front_dropout=0.2).train()
    log_probs, _ = net(torch.randn(2, 24, SIZE), torch.tensor([24, 20]))
    (log_probs * torch.randn_like(log_probs)).sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_settings_that_make_no_network_are_refused():
    with pytest.raises(InputError, match="front"):
        Network(SIZE, 11, {"front": "conv3d"})
    with pytest.raises(InputError, match="even"):
        network("conv1d", convolutions=[{"channels": 4, "kernel": 4, "stride": 2}])
    with pytest.raises(InputError, match=r"network.block must have 2 number"):
        network("mdlstm", block=4)
    with pytest.raises(InputError, match=r"network.levels must have 2 number"):
        network("mdlstm", levels=[{"hidden": 3, "block": [3], "units": 6}])
    with pytest.raises(InputError, match="cannot be"):
        network("mdlstm", block=[0, 4])
    with pytest.raises(InputError, match="number"):
        network("conv2d", convolutions=[{"channels": 4, "kernel": 3, "stride": 2}])


@pytest.mark.parametrize("stride", [0, -1, 10**30])
def test_a_stride_that_cannot_be_is_refused(stride: int):
    settings = {"hidden": 4, "layers": 1, "stride": stride}
    with pytest.raises(InputError, match="stride"):
        Network(5, 3, settings | {"front": "stack"})
    layer = {"channels": 2, "kernel": 3, "stride": stride}
    with pytest.raises(InputError, match="stride"):
        Network(5, 3, settings | {"front": "conv1d", "convolutions": [layer]})
