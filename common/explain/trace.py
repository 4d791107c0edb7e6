"""What goes on inside a network while it reads: gates and cells, what an output looks at, the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from carousel.common.decoding import decode
from carousel.common.errors import InputError
from carousel.common.lstm import LSTMStack
from carousel.common.lstm.cells import GRU, Weights, normalise, step_with_gates
from carousel.common.model.file import Model
from carousel.common.network import Network
from carousel.common.text.alphabet import Alphabet

PREFIXES = 5  # of the beam that are listed


@dataclass(frozen=True)
class Unit:
    """One cell of a layer over the output frames, in the order of time. Each (frames,)."""

    layer: int  # from 0
    direction: int  # 0: from the beginning, 1: from the end
    number: int
    input_gate: np.ndarray
    forget_gate: np.ndarray
    output_gate: np.ndarray
    candidate: np.ndarray  # what comes in
    cell: np.ndarray
    output: np.ndarray


@torch.no_grad()
def units(model: Model, features: np.ndarray, layer: int, direction: int) -> list[Unit]:
    """The cells of one layer and direction while the network reads features (frames, size).

    Step by step in float32, by the definition of the cell (common.lstm.cells). Raises InputError for a layer
    or direction that the network does not have, and for cells that are none of LSTM.
    """
    network = network_of(model)
    stack = network.lstm
    variant = stack.variant
    if not (0 <= layer < len(stack.inputs) and 0 <= direction < stack.directions):
        raise InputError(
            f"the network has {len(stack.inputs)} layers and {stack.directions} directions; "
            f"there is no layer {layer + 1}, direction {direction + 1}"
        )
    if variant == GRU or variant.time_gaps:
        raise InputError(f"the cells of this network are {stack.cell}, whose gates are not those of LSTM")
    x, _ = network.front(_batch(model, features), torch.tensor([len(features)], device=model.device))
    x = x[0].float()
    for below in range(layer):
        x = torch.cat([_run(stack, below, way, x)["h"] for way in range(stack.directions)], dim=1)
    found = {name: part.cpu().numpy() for name, part in _run(stack, layer, direction, x).items()}
    outputs = found["h"] if found["h"].shape == found["c"].shape else np.zeros_like(found["c"])
    parts = (found["i"], found["f"], found["o"], found["g"], found["c"], outputs)
    return [Unit(layer, direction, n, *(part[:, n] for part in parts)) for n in range(stack.hidden)]


def network_of(model: Model) -> Network:
    """Raises InputError for a model of another format, which only runs."""
    if not isinstance(model.network, Network):
        raise InputError(f"{model.path}: what goes on inside it cannot be seen; give a .safetensors model")
    return model.network


def _batch(model: Model, features: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(features, np.float32))[None].to(model.device)


def _run(stack: LSTMStack, layer: int, direction: int, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """i, f, g, o, c and h (frames, …) of one direction of a layer over x (frames, inputs)."""
    variant = stack.variant
    both = stack._weights(layer)
    weights = Weights(*(part if part is None else part[direction] for part in both))  # type: ignore[arg-type]
    projected = x @ stack.inputs[layer][direction].T
    if variant.layer_norm:
        projected = normalise(projected)[0] * stack.gain_inputs[layer][direction]
    projected = projected + stack.bias[layer][direction]
    state = stack.fresh(1)[layer]
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in ("i", "f", "g", "o", "c", "h")}
    frames = range(len(x))
    for frame in frames if not direction else reversed(frames):
        state, gates = step_with_gates(variant, projected[frame : frame + 1], state, weights)
        for name, value in (*gates.items(), ("h", state[0]), ("c", state[1])):
            rows[name].append(value.expand(1, -1) if value.dim() else value.expand(1, stack.hidden))
    return {name: torch.cat(list(found)[:: 1 - 2 * direction]) for name, found in rows.items()}


def busiest(cells: Sequence[Unit], frames: tuple[int, int]) -> Unit:
    """The unit whose cell changes most within frames [first, last), against its own spread elsewhere."""
    first, last = frames
    inside = slice(first, max(last, first + 2))
    return max(cells, key=lambda unit: float(np.ptp(unit.cell[inside])) / (float(unit.cell.std()) + 1.0))


def jacobian(model: Model, features: np.ndarray, frame: int, symbol: int) -> np.ndarray:
    """∂ ln P(symbol at the output frame) / ∂ features, (frames, size): the sequential Jacobian of Graves
    (2009, Offline Handwriting Recognition …; 2012, Supervised Sequence Labelling, section 4.4)."""
    x = _batch(model, features).requires_grad_()
    with torch.enable_grad():
        log_probs, _ = network_of(model)(x, torch.tensor([len(features)]))
        (found,) = torch.autograd.grad(log_probs[0, frame, symbol], x)
    return found[0].float().cpu().numpy()


@dataclass(frozen=True)
class Step:
    """The beam after an output frame."""

    frame: int
    symbol: str  # the likeliest there
    probability: float
    prefixes: tuple[tuple[str, float], ...]  # text and ln of its probability, best first


def search(log_probs: np.ndarray, alphabet: Alphabet, beam: int = 16) -> list[Step]:
    """The best prefixes after each output frame in which something begins to be likelier than the blank.

    log_probs: (frames, symbols), natural logs. Each is the search of what has been seen so far.
    """
    found = []
    best = log_probs.argmax(axis=1)
    for frame in np.flatnonzero((best > 0) & (best != np.concatenate([[0], best[:-1]]))):
        seen = decode(log_probs[: frame + 1], alphabet, "beam", beam=beam, nbest=PREFIXES)
        prefixes = tuple((hypothesis.text, hypothesis.score) for hypothesis in seen)
        symbol = alphabet.symbols[best[frame] - 1]
        found.append(Step(int(frame), symbol, float(np.exp(log_probs[frame, best[frame]])), prefixes))
    return found
