"""Data made by published rules: manifests train, valid and test, each from a seed of its own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common.files import atomic_text

Rng = np.random.Generator
Made = tuple[dict[str, np.ndarray], dict[str, Any]]  # arrays to be written, other keys of the line

COUNTS = {"train": 600, "valid": 200, "test": 1000}  # sequences, unless a rule says else
STEPS = 128  # of cylinder, bell and funnel
CHART = 60  # of a control chart
CHARTS = ("normal", "cyclic", "increasing", "decreasing", "upward", "downward")
SHAPES = ("cylinder", "bell", "funnel")
LONG = 2000  # steps of a Mackey-Glass series
WITH_ANOMALIES = 10  # series of test
MARKED = 10  # steps after a join that count as anomalous


def shape(kind: str, rng: Rng) -> np.ndarray:
    """Cylinder, bell or funnel of STEPS steps with noise (Saito 1994, Local Feature Extraction and Its
    Applications Using a Library of Bases)."""
    start = rng.integers(16, 33)
    end = start + rng.integers(32, 97)
    t = np.arange(1, STEPS + 1)
    inside = (t >= start) & (t <= end)
    slope: Any = {"cylinder": 1.0, "bell": (t - start) / (end - start), "funnel": (end - t) / (end - start)}[
        kind
    ]
    return (6 + rng.normal()) * inside * slope + rng.normal(size=STEPS)


def shapes(count: int, rng: Rng) -> Iterator[Made]:
    for _ in range(count):
        kind = str(rng.choice(SHAPES))
        yield {"features": shape(kind, rng)}, {"class": kind}


def strings(count: int, rng: Rng) -> Iterator[Made]:
    """One to six shapes one after the other, whose order is to be told."""
    for _ in range(count):
        kinds = [str(kind) for kind in rng.choice(SHAPES, rng.integers(1, 7))]
        yield {"features": np.concatenate([shape(kind, rng) for kind in kinds])}, {"symbols": kinds}


def charts(count: int, rng: Rng) -> Iterator[Made]:
    """Control charts (Alcock & Manolopoulos 1999, Time-Series Similarity Queries Employing a Feature-Based
    Approach)."""
    t = np.arange(1, CHART + 1)
    for _ in range(count):
        kind = str(rng.choice(CHARTS))
        x = 30 + 2 * rng.uniform(-3, 3, CHART)
        later = t >= rng.uniform(CHART / 3, 2 * CHART / 3)
        change = {
            "cyclic": rng.uniform(10, 15) * np.sin(2 * np.pi * t / rng.uniform(10, 15)),
            "increasing": rng.uniform(0.2, 0.5) * t,
            "decreasing": -rng.uniform(0.2, 0.5) * t,
            "upward": rng.uniform(7.5, 20) * later,
            "downward": -rng.uniform(7.5, 20) * later,
        }
        yield {"features": x + change.get(kind, 0)}, {"class": kind}


def rhythms(count: int, rng: Rng) -> Iterator[Made]:
    """Sines at irregular times: has one a period from 5 to 6, or another from 1 to 100 (Neil, Pfeiffer & Liu
    2016, Phased LSTM, section 3.1)? Features are the value and the time since the one before."""
    for _ in range(count):
        special = bool(rng.integers(2))
        period = rng.uniform(5, 6) if special else np.exp(rng.uniform(0, np.log(100)))
        while not special and 5 <= period <= 6:
            period = np.exp(rng.uniform(0, np.log(100)))
        begin = rng.uniform(0, 50)
        times = np.sort(rng.uniform(begin, begin + rng.uniform(15, 125), rng.integers(15, 126)))
        x = np.stack(
            [np.sin(2 * np.pi * times / period + rng.uniform(0, 2 * np.pi)), np.diff(times, prepend=times[0])]
        )
        yield {"features": x.T, "times": times}, {"class": "special" if special else "other"}


def mackey_glass(steps: int, rng: Rng, delay: int = 17) -> np.ndarray:
    """x' = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x, by Runge-Kutta at steps of 0.1, each tenth kept
    (Mackey & Glass 1977, Oscillation and Chaos in Physiological Control Systems)."""
    fine, washout, lag = 10, 500, delay * 10
    x = np.empty((steps + washout) * fine + lag)
    x[: lag + 1] = rng.uniform(0.5, 1.3)

    def slope(now: float, before: float) -> float:
        return 0.2 * before / (1 + before**10) - 0.1 * now

    h = 1 / fine
    for k in range(lag, len(x) - 1):
        early, late = x[k - lag], x[k - lag + 1]
        middle = (early + late) / 2
        a = slope(x[k], early)
        b = slope(x[k] + h / 2 * a, middle)
        c = slope(x[k] + h / 2 * b, middle)
        d = slope(x[k] + h * c, late)
        x[k + 1] = x[k] + h / 6 * (a + 2 * b + 2 * c + d)
    return x[lag + washout * fine :: fine][:steps]


def chaos(count: int, rng: Rng) -> Iterator[Made]:
    for _ in range(count):
        yield {"features": mackey_glass(LONG // 2, rng)}, {}


def anomalies(count: int, rng: Rng) -> Iterator[Made]:
    """Mackey-Glass series out of which pieces were cut where the ends fit, which no eye finds (after the
    benchmark of Thill, Konen & Bäck 2020); those of train and valid are whole."""
    for _ in range(count):
        x, spans = mackey_glass(LONG, rng), []
        for centre in (400, 1000, 1600) if count == WITH_ANOMALIES else ():
            x, start = cut(x, centre + int(rng.integers(-100, 100)))
            spans.append([start, start + MARKED])
        yield {"features": x}, {"anomalies": spans}


def cut(x: np.ndarray, start: int) -> tuple[np.ndarray, int]:
    """x without 20 to 120 of the steps after `start`: as many as let value and slope go on best."""
    ends = np.arange(start + 20, start + 120)
    misfit = (x[ends] - x[start]) ** 2 + 4 * (np.gradient(x)[ends] - np.gradient(x)[start]) ** 2
    end = int(ends[misfit.argmin()])
    return np.concatenate((x[:start], x[end:])), start


RULES: dict[str, tuple[Callable[[int, Rng], Iterator[Made]], dict[str, int]]] = {
    "shapes": (shapes, COUNTS),
    "charts": (charts, COUNTS),
    "strings": (strings, COUNTS),
    "rhythms": (rhythms, {**COUNTS, "train": 2000}),
    "chaos": (chaos, {"train": 8, "valid": 2, "test": 4}),
    "anomalies": (anomalies, {"train": 8, "valid": 4, "test": WITH_ANOMALIES}),
}


def write(name: str, folder: Path) -> list[Path]:
    """Writes arrays and manifests of a rule into the folder; the paths of the manifests."""
    rule, counts = RULES[name]
    (folder / "arrays").mkdir(parents=True, exist_ok=True)
    manifests = []
    for seed, (split, count) in enumerate(counts.items(), 1):
        manifests.append(folder / f"{split}.jsonl")
        with atomic_text(manifests[-1]) as file:
            for number, (arrays, row) in enumerate(rule(count, np.random.default_rng(seed))):
                for key, array in arrays.items():
                    path = f"arrays/{split}-{number:04d}-{key}.npy"
                    np.save(folder / path, array)
                    row[key] = path
                file.write(json.dumps(row) + "\n")
    return manifests
