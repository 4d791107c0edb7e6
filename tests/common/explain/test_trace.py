"""What is shown of a network is what it does."""

from pathlib import Path

import numpy as np
import pytest
import torch

from carousel.common.decoding import decode
from carousel.common.errors import InputError
from carousel.common.explain.trace import busiest, jacobian, search, units
from carousel.common.lstm.cells import VARIANTS
from carousel.common.model import file as model_file
from carousel.common.model.file import Model
from carousel.common.text.alphabet import Alphabet
from tests.tiny import tiny_model

CELLS = [name for name, variant in VARIANTS.items() if name != "gru" and not variant.time_gaps]


def model_of(tmp_path: Path, **network: object) -> Model:
    path = tiny_model(tmp_path / "m.safetensors", "speech", network=network, scale=1)
    return model_file.load(path)


def noise(model: Model, frames: int = 13) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(frames, model.size)).astype(np.float32)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_outputs_of_the_cells_are_those_of_the_layers(tmp_path, cell: str, bidirectional: bool) -> None:
    model = model_of(tmp_path, cell=cell, hidden=5, layers=2, bidirectional=bidirectional)
    features = noise(model)
    traced = [units(model, features, 1, way) for way in range(2 if bidirectional else 1)]
    outputs = np.stack([unit.output for way in traced for unit in way], axis=1)
    with torch.no_grad():
        x, lengths = model.network.front(torch.from_numpy(features)[None], torch.tensor([len(features)]))
        expected = model.network.lstm(x, lengths)[0].numpy()
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    gates = np.stack(
        [getattr(u, f"{gate}_gate") for gate in ("input", "forget", "output") for u in traced[0]]
    )
    assert ((gates >= 0) & (gates <= 1)).all()


def test_the_jacobian_is_that_of_differences(tmp_path) -> None:
    model = model_of(tmp_path, hidden=4, layers=1)
    features = noise(model, 9)
    found = jacobian(model, features, 1, 2)
    for frame, feature in ((0, 0), (3, 1), (8, model.size - 1)):
        moved = []
        for step in (0.02, -0.02):
            other = features.copy()
            other[frame, feature] += step
            moved.append(model.log_probs([other])[0][1, 2])
        assert found[frame, feature] == pytest.approx((moved[0] - moved[1]) / 0.04, abs=2e-4)
    assert np.abs(found).sum() > 0


def test_steps_of_the_search_end_with_its_text() -> None:
    alphabet = Alphabet("ab")
    rng = np.random.default_rng(1)
    log_probs = rng.normal(0, 3, (30, 3))
    log_probs -= np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
    steps = search(log_probs.astype(np.float32), alphabet)
    assert steps and all(step.symbol in "ab" for step in steps)
    last = decode(log_probs[: steps[-1].frame + 1].astype(np.float32), alphabet, "beam", beam=16, nbest=5)
    assert steps[-1].prefixes == tuple((one.text, one.score) for one in last)
    assert [step.frame for step in steps] == sorted({step.frame for step in steps})


def test_what_the_network_does_not_have_is_told(tmp_path) -> None:
    model = model_of(tmp_path, hidden=4, layers=1)
    with pytest.raises(InputError, match="there is no layer 2, direction 1"):
        units(model, noise(model), 1, 0)
    gru = model_of(tmp_path, hidden=4, layers=1, cell="gru")
    with pytest.raises(InputError, match="not those of LSTM"):
        units(gru, noise(gru), 0, 0)


def test_the_busiest_unit_moves_where_it_is_asked_for(tmp_path) -> None:
    model = model_of(tmp_path, hidden=6, layers=1)
    cells = units(model, noise(model, 24), 0, 0)
    chosen = busiest(cells, (2, 5))
    assert chosen in cells
