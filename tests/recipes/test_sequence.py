"""Sequences of any features: each task learns what its rule makes, and nothing unusable is taken."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from carousel.common.errors import InputError, UsageError
from carousel.recipes.sequence import rules
from carousel.recipes.sequence.__main__ import main
from carousel.recipes.sequence.anomaly import area_under_curve, fit, scores
from carousel.recipes.sequence.data import pieces, read
from carousel.recipes.sequence.model import Model, create, load, save
from carousel.recipes.sequence.settings import Settings
from carousel.recipes.sequence.tasks import TASKS, forecast_errors
from carousel.recipes.sequence.train import apply, measure, train

NETWORK = {"hidden": 5, "layers": 1, "cell": "lstm", "dropout": 0.0, "stride": 1}


def manifest(folder: Path, rows: list[dict[str, Any]], name: str = "train") -> str:
    """A manifest of rows in which arrays are written to files."""
    lines = []
    for number, row in enumerate(rows):
        line = dict(row)
        for key, value in row.items():
            if isinstance(value, np.ndarray):
                np.save(folder / f"{name}-{number}-{key}.npy", value)
                line[key] = f"{name}-{number}-{key}.npy"
        lines.append(json.dumps(line))
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def made(monkeypatch: pytest.MonkeyPatch, folder: Path, rule: str, **counts: int) -> dict[str, str]:
    """Manifests of a rule with few sequences, by split."""
    monkeypatch.setitem(rules.RULES, rule, (rules.RULES[rule][0], counts))
    return {path.stem: str(path) for path in rules.write(rule, folder)}


def quick(**settings: Any) -> Settings:
    """At a rate that suits few steps."""
    given = Settings(**settings)
    return replace(given, optimizer=replace(given.optimizer, rate=0.02))


def noise(rng: np.random.Generator, *lengths: int, size: int = 2) -> list[dict[str, Any]]:
    return [{"features": rng.normal(size=(length, size))} for length in lengths]


def test_shapes_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two of three are wrong by chance."""
    paths = made(monkeypatch, tmp_path, "shapes", train=150, valid=60)
    best = train(quick(task="classify", **paths, hidden=16, epochs=8, batch=16), tmp_path / "run")
    assert best["wrong"] < 0.2
    model = load(tmp_path / "run/best.safetensors")
    assert measure(read(paths["valid"], "classify", False), model) == best


def test_labels_of_frames_are_learned(tmp_path: Path):
    """Whether the last pulse was up or down, which a net without memory cannot tell: half is wrong."""
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(120):
        pulses = rng.choice([-1, 0, 0, 0, 1], 40)
        pulses[0] = 1
        at = np.maximum.accumulate(np.where(pulses, np.arange(40), 0))
        rows.append({"features": pulses.astype(np.float32), "labels": (pulses[at] > 0).astype(int)})
    paths = {"train": manifest(tmp_path, rows[:90]), "valid": manifest(tmp_path, rows[90:], "valid")}
    settings = quick(task="label", **paths, hidden=8, epochs=6, window=25, batch=16)
    assert train(settings, tmp_path / "run")["wrong"] < 0.15


def test_strings_are_read_by_ctc(tmp_path: Path):
    """Pulses up and down in order, with silence between them: an empty text has as many errors as symbols."""
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(120):
        signs = rng.choice([-1, 1], rng.integers(1, 5))
        x = np.zeros(24)
        x[np.sort(rng.choice(12, len(signs), replace=False)) * 2] = signs
        rows.append({"features": x, "symbols": ["down" if sign < 0 else "up" for sign in signs]})
    paths = {"train": manifest(tmp_path, rows[:90]), "valid": manifest(tmp_path, rows[90:], "valid")}
    settings = quick(task="ctc", **paths, hidden=16, epochs=25, batch=8)
    assert train(settings, tmp_path / "run")["errors"] < 0.3


def test_a_sine_is_forecast_and_its_break_found(tmp_path: Path):
    def wave(phase: float) -> np.ndarray:
        return np.sin(np.arange(150) / 3 + phase)

    rows = [{"features": wave(phase)} for phase in np.linspace(0, 6, 12)]
    broken = wave(0.3)
    broken[90:] = wave(2.3)[90:]
    paths = {"train": manifest(tmp_path, rows[:8]), "valid": manifest(tmp_path, rows[8:], "valid")}
    test = manifest(tmp_path, [{"features": broken, "anomalies": [[90, 100]]}], "test")
    settings = quick(
        task="forecast", **paths, horizon=4, hidden=12, epochs=25, window=50, batch=8, dropout=0.0
    )
    best = train(settings, tmp_path / "run")
    assert best["nrmse"] < 0.5 * best["nrmse if all stays"]
    model = load(tmp_path / "run/best.safetensors")
    (one,) = read(test, "forecast", False)
    found = scores(one, model)
    assert np.isnan(found[:4]).all() and np.nanargmax(found) in range(90, 100)
    assert measure([one], model)["area under curve"] > 0.9
    ahead = apply([one], model)[0]
    assert ahead.shape == (4, 1)
    np.testing.assert_allclose(ahead[:, 0], np.sin(np.arange(150, 154) / 3 + 2.3), atol=0.4)


def test_the_gaussian_of_errors_is_that_of_numpy(tmp_path: Path):
    rng = np.random.default_rng(2)
    sequences = read(manifest(tmp_path, noise(rng, 60, 45)), "forecast", False)
    model = create("forecast", 2, (), NETWORK, 3, [one.x for one in sequences])
    model.network.eval()
    vectors = []
    for one in sequences:
        with torch.inference_mode():
            told = model.outputs([one])[0][0].numpy().reshape(-1, 3, 2)
        x = (one.x - model.network.mean.numpy()) / model.network.deviation.numpy()
        for t in range(3, len(x)):
            vectors.append(np.concatenate([told[t - ahead, ahead - 1] - x[t] for ahead in (1, 2, 3)]))
    mean, precision = fit(sequences, model)
    np.testing.assert_allclose(mean, np.mean(vectors, axis=0), atol=1e-5)
    np.testing.assert_allclose(precision, np.linalg.inv(np.cov(np.transpose(vectors))), rtol=1e-2, atol=1e-3)
    first = vectors[0] - mean.numpy()
    found = scores(sequences[0], replace(model, errors=(mean, precision)))
    assert found[3] == pytest.approx(first @ precision.numpy() @ first, rel=1e-4)


@pytest.mark.parametrize(("task", "stride"), [*((task, 1) for task in TASKS), ("classify", 4), ("ctc", 4)])
def test_padding_changes_nothing(tmp_path: Path, task: str, stride: int):
    rng = np.random.default_rng(3)
    rows = noise(rng, 9, 30)
    for row, length in zip(rows, (9, 30), strict=True):
        row |= {"class": "b", "symbols": ["a", "b"], "labels": rng.integers(2, size=length)}
    sequences = read(manifest(tmp_path, rows), task, False)
    torch.manual_seed(1)
    network = {**NETWORK, "stride": stride}
    model = create(
        task, 2, ("a", "b") if task != "label" else ("0", "1"), network, 4, [one.x for one in sequences]
    )
    outputs, lengths = model.outputs(sequences)
    alone, _ = model.outputs(sequences[:1])
    torch.testing.assert_close(outputs[0, : lengths[0]] if outputs.dim() == 3 else outputs[0], alone[0])
    together = TASKS[task].loss(outputs, lengths, sequences, model)
    losses = [TASKS[task].loss(*model.outputs([one]), [one], model).detach().double() for one in sequences]
    shares = {"label": (9, 30), "forecast": (9 * 4 - 10, 30 * 4 - 10)}.get(task, (1, 1))
    mean = sum(loss * share for loss, share in zip(losses, shares, strict=True)) / sum(shares)
    assert float(together.detach()) == pytest.approx(float(mean), rel=1e-5)


def test_forecast_errors_are_of_the_frames_that_come():
    x = np.arange(6, dtype=np.float32)[:, None]
    model = create("forecast", 1, (), NETWORK, 2, [x])
    model.network.mean.zero_()
    model.network.deviation.fill_(1.0)
    one = read_one(x)
    told = torch.tensor([[t + 1.0, t + 2.5] for t in range(6)])  # the second is half too high
    errors = forecast_errors(told, one, model)[..., 0]
    assert errors[:4].tolist() == [[0.0, 0.5]] * 4
    assert errors[4, 0] == 0 and errors[4, 1].isnan() and errors[5].isnan().all()


def read_one(x: np.ndarray) -> Any:
    from carousel.recipes.sequence.data import Sequence

    return Sequence("here", x, None, None, [])


def test_the_time_aware_cell_needs_and_uses_times(tmp_path: Path):
    rng = np.random.default_rng(4)
    rows = [{"features": rng.normal(size=(8, 2)), "class": kind} for kind in "ab"]
    with pytest.raises(InputError, match="lacks times"):
        read(manifest(tmp_path, rows), "classify", True)
    timed = [{**row, "times": np.cumsum(rng.random(8))} for row in rows]
    sequences = read(manifest(tmp_path, timed), "classify", True)
    np.testing.assert_allclose(np.cumsum(sequences[0].gaps), timed[0]["times"] - timed[0]["times"][0])
    torch.manual_seed(1)
    model = create("classify", 2, "ab", {**NETWORK, "cell": "time_aware"}, 1, [one.x for one in sequences])
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.timed and again.symbols == ("a", "b")
    outputs, _ = again.outputs(sequences)
    torch.testing.assert_close(outputs, model.outputs(sequences)[0])
    later = [one._replace(gaps=one.gaps * 5) for one in sequences]
    assert not torch.allclose(outputs, again.outputs(later)[0])


def test_pieces_are_the_whole(tmp_path: Path):
    (one,) = read(
        manifest(tmp_path, [{"features": np.arange(11.0), "labels": np.arange(11)}]), "label", False
    )
    cut = pieces(one, 4)
    assert [len(piece.x) for piece in cut] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate([piece.target for piece in cut]), np.arange(11))


def test_mackey_glass_is_that_of_a_fine_euler():
    """The same start and delay, integrated by another rule with a tenth of the step."""
    x = rules.mackey_glass(30, np.random.default_rng(5))
    start = np.random.default_rng(5).uniform(0.5, 1.3)
    fine, lag = 100, 1700
    euler = [start] * (lag + 1)
    for k in range(lag, lag + 530 * fine):
        before = euler[k - lag]
        euler.append(euler[k] + (0.2 * before / (1 + before**10) - 0.1 * euler[k]) / fine)
    # Chaos: the two part in the end; they agree where the washout of 500 is over by less than a tenth.
    np.testing.assert_allclose(x[:5], euler[lag + 500 * fine :: fine][:5], atol=0.1)
    assert 0.2 < x.min() < x.max() < 1.5


def test_the_area_under_the_curve_counts_pairs():
    rng = np.random.default_rng(6)
    values, anomalous = rng.integers(5, size=40).astype(float), rng.random(40) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in values[anomalous] for b in values[~anomalous]]
    assert area_under_curve(values, anomalous) == pytest.approx(np.mean(pairs))


def test_every_rule_makes_what_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tasks = {"shapes": "classify", "charts": "classify", "rhythms": "classify", "strings": "ctc"}
    for rule in rules.RULES:
        monkeypatch.setattr(rules, "LONG", 600)
        paths = made(monkeypatch, tmp_path / rule, rule, train=2, valid=2)
        task = tasks.get(rule, "forecast")
        sequences = read(paths["train"], task, rule == "rhythms")
        assert len(sequences) == 2 and (task == "forecast") == (sequences[0].target is None)
        assert not np.array_equal(sequences[0].x[:40], read(paths["valid"], task, False)[0].x[:40])


def test_a_cut_series_goes_on_smoothly():
    x = rules.mackey_glass(600, np.random.default_rng(7))
    shorter, start = rules.cut(x, 300)
    assert 20 <= len(x) - len(shorter) <= 120
    jumps = np.abs(np.diff(shorter))
    assert jumps[start - 1] < 2 * np.abs(np.diff(x)).max()


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    paths = made(monkeypatch, tmp_path / "data", "shapes", train=8, valid=4)
    settings = ["task=classify", f"train={paths['train']}", f"valid={paths['valid']}", "epochs=1", "hidden=3"]
    assert main(["train", *settings]) == 0
    capsys.readouterr()
    assert main(["apply", "runs/sequence/best.safetensors", paths["valid"]]) == 0
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert len(rows) == 4 and all(row["says"] in rules.SHAPES for row in rows)
    assert "wrong" in shown.err
    with pytest.raises(InputError, match="already holds"):
        main(["train", *settings])
    with pytest.raises(UsageError, match="task must be classify, label"):
        main(["train", "task=sing", *settings[1:]])
    with pytest.raises(UsageError, match="there are shapes"):
        main(["make", "chairs", "x"])
    with pytest.raises(UsageError, match="stride must be 1 with"):
        main(["train", "task=label", *settings[1:], "stride=2", "name=other"])
    with pytest.raises(UsageError, match="the first word"):
        main(["sing"])
    assert main(["--help"]) == 0
    assert "horizon: 10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "task", "said"),
    [
        ({"features": np.zeros((0, 2))}, "forecast", "must be (frames, size) finite numbers"),
        ({"features": np.array([[1.0, math.nan]])}, "forecast", "finite"),
        ({"features": np.array(["a"])}, "forecast", "cannot be read as .npy"),
        ({"features": "none.npy"}, "forecast", "none.npy cannot be read"),
        ({"class": "a"}, "classify", "lacks features"),
        ({"features": np.ones(3), "class": 3}, "classify", "class must be a string"),
        ({"features": np.ones(3), "symbols": "ab"}, "ctc", "symbols must be a list of strings"),
        ({"features": np.ones(3), "labels": np.array([0, 1])}, "label", "labels must be 3 whole numbers"),
        ({"features": np.ones(3), "labels": np.array([0, -1, 1])}, "label", "labels must be 3 whole numbers"),
        ({"features": np.ones(3), "anomalies": [[2, 5]]}, "forecast", "anomalies must be pairs"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path: Path, row: dict[str, Any], task: str, said: str):
    path = manifest(tmp_path, [{"features": np.ones(3), "class": "a"}, row])
    with pytest.raises(InputError) as caught:
        read(path, task, False)
    assert said in str(caught.value) and str(caught.value).startswith(f"{path}:2: ")


@pytest.mark.parametrize(
    ("train_row", "valid_row", "task", "said"),
    [
        ({"class": "a"}, {"class": "b"}, "classify", "b is not in the training data"),
        ({"class": "a"}, {}, "classify", "lacks class, which task=classify learns"),
        ({"symbols": ["a"] * 9}, {"symbols": ["a"]}, "ctc", "8 frames are too few for 9 symbols"),
        ({}, {}, "forecast", "8 frames are too few for a horizon of 10"),
    ],
)
def test_targets_that_cannot_be_said_are_named(
    tmp_path: Path, train_row: dict[str, Any], valid_row: dict[str, Any], task: str, said: str
):
    rows = [{"features": np.ones(8), **row} for row in (train_row, valid_row)]
    paths = {"train": manifest(tmp_path, rows[:1]), "valid": manifest(tmp_path, rows[1:], "valid")}
    with pytest.raises(InputError, match=said):
        train(Settings(task=task, **paths), tmp_path / "run")


def test_damaged_models_are_refused(tmp_path: Path):
    model = create("classify", 2, "ab", NETWORK, 1, [np.zeros((4, 2), np.float32)])
    path = tmp_path / "m.safetensors"
    save(model, path)
    whole = path.read_bytes()
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["model"])
    state = {name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}

    def with_header(**changed: Any) -> None:
        metadata = {"format": "carousel-sequence-1", "model": json.dumps(header | changed)}
        save_file(state, path, metadata)

    def refused() -> None:
        with pytest.raises(InputError, match="is not a sequence model, or is damaged"):
            load(path)

    for bad in (whole[: len(whole) // 2], b"", b"no"):
        path.write_bytes(bad)
        refused()
    for changed in (
        {"task": "sing"},
        {"network": {**NETWORK, "layers": 10**9}},
        {"network": {**NETWORK, "hidden": 10**6}},
        {"network": {}},
        {"size": 3},
    ):
        with_header(**changed)
        refused()
    state["head.bias"] = torch.full_like(state["head.bias"], math.nan)
    with_header()
    refused()
    with pytest.raises(InputError, match="is not a sequence model"):
        load(tmp_path / "none.safetensors")
    assert isinstance(model, Model)
