"""A trained model as an ONNX file that any ONNX runtime runs: the same log-probabilities, padding included.

Recurrent layers are the LSTM operator itself, with peepholes (`P`) and `sequence_lens`, or the GRU operator,
so that a runtime's own kernels do the work. What is not in the graph (alphabet, features, decoder …) travels
in `metadata_props` as the same JSON as in a model file; common/model/onnx_run.py reads it.

Inputs: `features` (batch, frames, size) float32 and `lengths` (batch,) int64; what stands past a row's length
is not looked at. Outputs: `log_probs` (batch, output frames, symbols) float32, natural logarithms, and
`output_lengths` (batch,) int64.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carousel import __version__
from carousel.common.errors import InputError
from carousel.common.files import atomic_write
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.cells import GRU
from carousel.common.model.file import Model, describe
from carousel.common.model.onnx_run import KEY, LARGEST, Runner, needs_extra, session
from carousel.common.network import SLOPE, Convolutions, Network, Stack

OPSET, IR = 17, 8  # LayerNormalization is of opset 17; both are read by every onnxruntime since 1.12
FLOAT, INT32, INT64 = 1, 6, 7  # of onnx.TensorProto
TOLERANCE = 1e-3  # of log-probabilities, in natural logs; rounding makes some 1e-5
OPEN = 100.0  # bias of a gate that a cell does not have: σ(100) is 1 in float32


class Graph:
    """Nodes and constants in the order in which they are added; a value is known by its name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node; returns the name of its one output."""
        from onnx import helper

        output = name or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, value: Tensor | np.ndarray | int | float | Sequence[int], name: str = "") -> str:
        """A tensor of the file: weights as float32, Python's whole numbers as int64."""
        from onnx import numpy_helper

        if isinstance(value, Tensor):
            array = value.detach().float().cpu().numpy()
        else:
            array = np.asarray(value, np.float32 if isinstance(value, float) else None)
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name


def export(model: Model, path: str | Path) -> float:
    """Writes `model` as ONNX, whole or not at all, after ONNX Runtime has run it beside torch.

    Returns the largest difference of their log-probabilities. Raises InputError for a network that ONNX's
    operators cannot say, for one that was itself read from an ONNX file, and without the extra `onnx`.
    """
    path = Path(path)
    network = model.network
    if not isinstance(network, Network):
        raise InputError(f"{path}: this model is an ONNX file already; export the .safetensors it came from")
    with needs_extra(path):
        content = _proto(model, network).SerializeToString(deterministic=True)
        difference = _difference(model, content, path)
    if not difference < TOLERANCE:
        raise InputError(
            f"{path}: not written, as ONNX Runtime's log-probabilities would differ by {difference:.2g}: "
            "a part of this network is not known to the export"
        )
    with atomic_write(path) as partial:
        partial.write_bytes(content)
    return difference


def _difference(model: Model, content: bytes, path: Path) -> float:
    """Between torch and ONNX Runtime, on two rows of noise that differ in length."""
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(n * model.stride, model.size)).astype(np.float32) for n in (20, 7)]
    runner = Runner(path, session(path, content, "cpu"), model.stride, len(model.alphabet))
    model = replace(model, bf16=False)  # as the file will run
    both = (model.log_probs(rows), replace(model, network=runner).log_probs(rows))
    return max(float(np.abs(a - b).max()) for a, b in zip(*both, strict=True))


def _proto(model: Model, network: Network) -> Any:
    from onnx import helper

    graph = Graph()
    h, lengths = _front(graph, network.front)
    h = _recurrent(graph, network.lstm, h, lengths)
    weight = graph.constant(network.head.weight.T, "head.weight")
    h = graph.add("Add", graph.add("MatMul", h, weight), graph.constant(network.head.bias, "head.bias"))
    graph.add("LogSoftmax", h, name="log_probs", axis=-1)
    graph.add("Identity", lengths, name="output_lengths")
    value = helper.make_tensor_value_info
    inputs = [
        value("features", FLOAT, ["batch", "frames", model.size]),
        value("lengths", INT64, ["batch"]),
    ]
    outputs = [
        value("log_probs", FLOAT, ["batch", "output_frames", network.head.out_features]),
        value("output_lengths", INT64, ["batch"]),
    ]
    whole = helper.make_model(
        helper.make_graph(graph.nodes, "carousel", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="carousel",
        producer_version=__version__,
    )
    header = describe(
        *(model.domain, model.alphabet, model.features, model.network_settings, model.size),
        *(model.decoder, model.card),
    )
    helper.set_model_props(whole, {KEY: json.dumps(header, ensure_ascii=False)})
    if (size := whole.ByteSize()) > LARGEST:
        raise InputError(f"the network takes {size:,} bytes, and one ONNX file holds at most {LARGEST:,}")
    return whole


def _mask(graph: Graph, x: str, lengths: str, dimensions: int) -> str:
    """x: (batch, frames, …) of so many dimensions, zero from each row's length on."""
    frames = graph.add("Gather", graph.add("Shape", x), graph.constant(1))
    time = graph.add("Range", graph.constant(0), frames, graph.constant(1))
    keep = graph.add("Less", time, graph.add("Unsqueeze", lengths, graph.constant([1])))  # (batch, frames)
    keep = graph.add("Unsqueeze", keep, graph.constant(list(range(2, dimensions))))
    return graph.add("Where", keep, x, graph.constant(0.0))


def _shorter(graph: Graph, lengths: str, stride: int) -> str:
    """⌈lengths / stride⌉"""
    return graph.add("Div", graph.add("Add", lengths, graph.constant(stride - 1)), graph.constant(stride))


def _front(graph: Graph, front: torch.nn.Module) -> tuple[str, str]:
    """The names of what the front end gives, (batch, frames, outputs), and of its lengths."""
    x = _mask(graph, "features", "lengths", 3)
    if isinstance(front, Stack):
        return _stack(graph, front, x)
    if isinstance(front, Convolutions):
        return _convolutions(graph, front, x)
    raise InputError(
        f"the front end {type(front).__name__} cannot be exported to ONNX; stack, conv1d and conv2d can"
    )


def _stack(graph: Graph, front: Stack, x: str) -> tuple[str, str]:
    frames = graph.add("Gather", graph.add("Shape", x), graph.constant([1]))
    missing = graph.add("Mod", graph.add("Neg", frames), graph.constant(front.stride))  # (1,)
    none = graph.constant([0, 0, 0, 0])
    pads = graph.add(
        "Concat", none, missing, graph.constant([0]), axis=0
    )  # begins, then ends, of 3 dimensions
    x = graph.add("Pad", x, pads)
    shape = graph.constant([0, -1, front.outputs])  # 0: as it is
    return graph.add("Reshape", x, shape), _shorter(graph, "lengths", front.stride)


def _convolutions(graph: Graph, front: Convolutions, x: str) -> tuple[str, str]:
    lengths, two = "lengths", front.dimensions == 2
    height = front.height
    if two:
        x = graph.add("Unsqueeze", x, graph.constant([3]))  # (batch, frames, height, channels)
    first, last = ([0, 3, 1, 2], [0, 2, 3, 1]) if two else ([0, 2, 1], [0, 2, 1])  # channels second, last
    layers: Any = zip(front.convolutions, front.norms, strict=True)
    for number, (convolution, norm) in enumerate(layers):
        weight = graph.constant(convolution.weight, f"front.convolutions.{number}.weight")
        kernel, strides = list(convolution.kernel_size), list(convolution.stride)
        pads = [k // 2 for k in kernel] * 2
        x = graph.add("Transpose", x, perm=first)
        x = graph.add("Conv", x, weight, kernel_shape=kernel, strides=strides, pads=pads)
        x = graph.add("Transpose", x, perm=last)
        if two:
            height = -(-height // strides[1])
        over = (height,) if two else ()  # what a frame has beside its channels
        scales = [
            graph.constant(p.expand(*over, len(p)), f"front.norms.{number}.{name}")
            for name, p in (("gain", norm.gain), ("bias", norm.bias))
        ]
        x = graph.add("LayerNormalization", x, *scales, axis=2, epsilon=norm.eps)
        lengths = _shorter(graph, lengths, strides[0])
        x = graph.add("LeakyRelu", _mask(graph, x, lengths, 4 if two else 3), alpha=SLOPE)
    if two:
        x = graph.add("Transpose", x, perm=[0, 1, 3, 2])
        x = graph.add("Reshape", x, graph.constant([0, 0, front.outputs]))
    return x, lengths


def _recurrent(graph: Graph, stack: LSTMStack, x: str, lengths: str) -> str:
    """All layers of a stack. x: (batch, frames, inputs); returns (batch, frames, outputs)."""
    _check_cell(stack)
    lengths = graph.add("Cast", lengths, to=INT32)
    x = graph.add("Transpose", x, perm=[1, 0, 2])  # the operators' layout 0: (frames, batch, inputs)
    for layer in range(len(stack.inputs)):
        kind, weights, attributes = (_gru if stack.variant == GRU else _lstm)(stack, layer)
        prefix = f"{kind.lower()}.{layer}."
        named = {name: graph.constant(value, prefix + name) for name, value in weights.items()}
        inputs = [x, named["W"], named["R"], named["B"], lengths]
        if "P" in named:
            inputs += ["", "", named["P"]]
        direction = "bidirectional" if stack.directions == 2 else "forward"
        y = graph.add(kind, *inputs, hidden_size=stack.hidden, direction=direction, **attributes)
        y = graph.add("Transpose", y, perm=[0, 2, 1, 3])  # (frames, batch, directions, hidden)
        x = graph.add("Reshape", y, graph.constant([0, 0, stack.outputs]))
    return graph.add("Transpose", x, perm=[1, 0, 2])


def _check_cell(stack: LSTMStack) -> None:
    variant = stack.variant
    parts = {
        f"cell={stack.cell}": variant.gate_recurrence or variant.layer_norm or variant.time_gaps,
        "projection": stack.projection,
        "zoneout": any(stack.zoneout),  # in evaluation it still mixes old and new
    }
    if unknown := [f"network.{name}" for name, there in parts.items() if there]:
        raise InputError(f"{' and '.join(unknown)} cannot be exported: ONNX has no such recurrent operator")


def _reordered(gates: Tensor, ours: str, theirs: str, absent: Mapping[str, float]) -> Tensor:
    """Rows of gates, (directions, gates · hidden, …), from our order into that of an operator.

    absent: what stands in the rows of a gate that is not in `ours`, 0 if not named.
    """
    rows = dict(zip(ours, gates.detach().chunk(len(ours), dim=1), strict=True))
    like = rows[ours[0]]
    return torch.cat([rows.get(name, torch.full_like(like, absent.get(name, 0.0))) for name in theirs], dim=1)


def _lstm(stack: LSTMStack, layer: int) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """The LSTM operator, its weights and its attributes. Its gates are i, o, f, c, of which c is our g."""
    variant = stack.variant
    opened = {"g": 0.0, **dict.fromkeys("iof", OPEN)}
    bias = _reordered(stack.bias[layer], variant.gates, "iofg", opened)
    weights = {
        "W": _reordered(stack.inputs[layer], variant.gates, "iofg", {}),
        "R": _reordered(stack.recurrent[layer], variant.gates, "iofg", {}),
        "B": torch.cat((bias, torch.zeros_like(bias)), dim=1),
    }
    if variant.peepholes:
        weights["P"] = _reordered(stack.peephole[layer].flatten(1), variant.sigmoids, "iof", {})
    attributes: dict[str, Any] = {"input_forget": 1} if variant.coupled else {}
    kinds = [
        "Tanh" if squashed else "Affine" for squashed in (variant.input_activation, variant.output_activation)
    ]
    if linear := kinds.count("Affine") * stack.directions:
        attributes["activations"] = ["Sigmoid", *kinds] * stack.directions
        attributes |= {"activation_alpha": [1.0] * linear, "activation_beta": [0.0] * linear}  # y = x
    return "LSTM", weights, attributes


def _gru(stack: LSTMStack, layer: int) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """As `_lstm`, the GRU operator. Its gates are z, r, h, of which h is our n."""
    hidden = stack.bias_candidate[layer].detach()
    into = _reordered(stack.bias[layer], "rzn", "zrn", {})
    weights = {
        "W": _reordered(stack.inputs[layer], "rzn", "zrn", {}),
        "R": _reordered(stack.recurrent[layer], "rzn", "zrn", {}),
        "B": torch.cat((into, torch.zeros_like(hidden).repeat(1, 2), hidden), dim=1),
    }
    return "GRU", weights, {"linear_before_reset": 1}
