"""The pictures are looked at as pictures: where is which colour."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.errors import InputError
from carousel.common.plots import (
    _peaks,
    draw_activations,
    draw_curves,
    draw_ink,
    draw_reliability,
    levels,
)
from carousel.common.text.alphabet import Alphabet

BLUE, ORANGE = (
    np.array([31, 119, 180]),
    np.array([255, 127, 14]),
)  # the first two colours of matplotlib's cycle
NOTHING = Hypothesis((), 0.0)


def firing(alphabet: Alphabet, frames: int, fires: dict[int, str]) -> np.ndarray:
    """(frames, symbols) log-probabilities: blank, but for the given frames."""
    probabilities = np.full((frames, len(alphabet)), 0.01, np.float32)
    probabilities[:, 0] = 1
    for frame, symbol in fires.items():
        probabilities[frame, 0] = 0.01
        probabilities[frame, alphabet.encode(symbol)[0]] = 1
    return np.log(probabilities / probabilities.sum(axis=1, keepdims=True))


def hypothesis(fires: dict[int, str]) -> Hypothesis:
    return Hypothesis(tuple(Symbol(text, frame, frame + 1, 0.9) for frame, text in fires.items()), -1.0)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def near(image: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """(height, width) of bool: which pixels have this colour."""
    return np.abs(image - colour).max(axis=2) < 40


def frames_of(image: np.ndarray) -> list[tuple[int, int]]:
    """Rows (top, bottom) of each panel: how far the black line at its left goes."""
    dark = image.max(axis=2) < 60
    left = int(np.flatnonzero(dark.mean(axis=0) > 0.6)[0])
    rows = np.flatnonzero(dark[:, left])
    runs = [run for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(run) > 20]
    return [(int(run[0]), int(run[-1])) for run in runs]


@pytest.mark.parametrize(("columns", "stride"), [(240, 4.0), (238, 4.0), (240, None)])
def test_a_symbol_stands_under_the_ink_that_made_it_fire(tmp_path, columns, stride):
    alphabet, fires = Alphabet("ab"), {10: "a", 45: "b"}
    line = np.zeros((48, columns))
    for frame in fires:
        line[8:40, 4 * frame : 4 * frame + 4] = 1  # a stroke as wide as an output frame
    path = tmp_path / "line.png"
    draw_activations(line, firing(alphabet, 60, fires), hypothesis(fires), alphabet, path, stride=stride)

    image = pixels(path)
    (top, bottom), (lower_top, lower_bottom) = frames_of(image)
    ink = near(image, np.array([0, 0, 0]))[top + 15 : bottom - 15]
    inside = np.flatnonzero(ink.mean(axis=0) > 0.5)
    inside = inside[(inside > inside[0] + 5) & (inside < inside[-1] - 5)]  # without the frame of the panel
    strokes = np.split(inside, np.flatnonzero(np.diff(inside) > 5) + 1)
    assert len(strokes) == 2
    middle = (lower_top + lower_bottom) // 2  # half the probability: only the symbol that fires gets there
    for stroke, colour in zip(strokes, (BLUE, ORANGE), strict=True):
        peak = np.flatnonzero(near(image, colour)[middle - 5 : middle + 5].any(axis=0))
        assert abs(peak.mean() - stroke.mean()) < 3


def test_a_spectrogram_has_low_frequencies_at_the_bottom_and_an_axis_in_seconds(tmp_path):
    alphabet = Alphabet("a")
    spectrogram = np.zeros((80, 300))
    spectrogram[:20] = 1
    path = tmp_path / "speech.png"
    draw_activations(
        spectrogram,
        firing(alphabet, 100, {50: "a"}),
        hypothesis({50: "a"}),
        alphabet,
        path,
        seconds=0.03,
        stride=3,
    )
    image = pixels(path)
    (top, bottom), _ = frames_of(image)
    bright = image[..., 0].mean(axis=1)
    assert bright[bottom - 20] > bright[top + 20] + 100


def test_the_letter_stands_at_the_symbols_own_peak():
    alphabet = Alphabet("ab")
    log_probs = firing(alphabet, 20, {4: "a", 12: "b", 15: "a"})
    found = _peaks(log_probs, Hypothesis((Symbol("a", 2, 9, 1.0), Symbol("b", 10, 14, 1.0)), 0.0), alphabet)
    assert [(symbol.text, frame) for symbol, frame in found] == [("a", 4), ("b", 12)]


@pytest.mark.parametrize("shape", [(48, 0), (0, 0), (48, 7)])
def test_nothing_read_is_drawn_as_well(tmp_path, shape):
    alphabet = Alphabet("a")
    path = tmp_path / "empty.png"
    draw_activations(np.zeros(shape), np.zeros((0, 2), np.float32), NOTHING, alphabet, path)
    assert pixels(path).shape[1] >= 900
    draw_ink([], np.zeros((0, 2)), np.zeros((0, 2), np.float32), NOTHING, alphabet, path)
    assert pixels(path).shape[1] >= 900


def test_dollars_and_spaces_are_letters_like_others(tmp_path):
    alphabet, fires = Alphabet("$ \\^_{%"), {5: "$", 10: " ", 15: "^", 20: "$", 25: "\\"}
    path = tmp_path / "signs.png"
    draw_activations(
        np.zeros((48, 60)),
        firing(alphabet, 30, fires),
        hypothesis(fires),
        alphabet,
        path,
        title=r"$\frac{$ 5",
    )
    assert path.stat().st_size > 0


def test_ink_has_each_symbol_where_the_pen_was(tmp_path):
    alphabet, fires = Alphabet("ab"), {3: "a", 16: "b"}
    strokes = [np.array([[0, 0], [90, 0]], np.float32), np.array([[100, 40]], np.float32)]  # a dash, a dot
    places = np.stack([np.linspace(0, 100, 20), np.linspace(0, 40, 20)], axis=1)
    path = tmp_path / "ink.png"
    draw_ink(strokes, places, firing(alphabet, 20, fires), hypothesis(fires), alphabet, path)
    image = pixels(path)
    upper = image[: image.shape[0] // 2 - 20]
    (y_a, x_a), (y_b, x_b) = (np.argwhere(near(upper, colour)).mean(axis=0) for colour in (BLUE, ORANGE))
    assert x_a < x_b
    assert y_a < y_b  # y grows downwards in ink and in pictures
    ratio = (places[16] - places[3])[1] / (places[16] - places[3])[0]
    assert (y_b - y_a) / (x_b - x_a) == pytest.approx(ratio, rel=0.1)  # one scale for both directions


def test_curves_leave_out_what_was_not_measured(tmp_path):
    rows = [{"epoch": epoch, "train_loss": 3.0 / epoch} for epoch in range(1, 9)]
    rows[1] |= {"valid_cer": 0.5}
    rows[3] |= {"valid_cer": "", "train_loss": float("nan")}
    rows[5] |= {"valid_cer": 0.25}
    rows[7] |= {"valid_cer": None}
    path = tmp_path / "curves.png"
    draw_curves(rows, path, title="an4")
    image = pixels(path)
    _, (top, bottom) = frames_of(image)
    left = image.shape[1] // 2  # the line from epoch 2 to epoch 6 goes on through what is left out
    assert near(image[top:bottom, left - 20 : left + 20], BLUE).any(axis=0).all()
    draw_curves([], path)  # before the first epoch


def test_the_best_epoch_is_marked(tmp_path):
    """A grey line from top to bottom where valid_cer is lowest, and none where there is no such rate."""
    rows = [{"epoch": n, "valid_cer": cer} for n, cer in ((1, 0.5), (2, 0.2), (3, None), (4, 0.3))]
    found = {}
    for name, drawn in (("marked", rows), ("bare", [{**row, "valid_cer": None} for row in rows])):
        draw_curves([{**row, "train_loss": 1.0} for row in drawn], tmp_path / f"{name}.png")
        image = pixels(tmp_path / f"{name}.png")
        (top, bottom), _ = frames_of(image)
        grey = (np.abs(image[top + 3 : bottom - 3] - 128) < 12).all(axis=2)
        found[name] = grey.sum(axis=0).max() > (bottom - top) / 3
    assert found == {"marked": True, "bare": False}


def test_a_bar_is_as_high_as_the_share_that_is_right(tmp_path):
    path = tmp_path / "reliability.png"
    sure = np.repeat([0.1, 0.5], 100)
    draw_reliability({"words": (sure, np.arange(200) % 4 == 0), "symbols": (sure[:0], sure[:0] > 0)}, path)
    image = pixels(path)
    (top, bottom), (_, _) = frames_of(image)
    blue = near(image[top : bottom + 1], BLUE)
    columns = np.flatnonzero(blue.any(axis=0))
    bars = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    assert len(bars) == 2  # of 15 bins two hold something
    for bar in bars:
        assert blue[:, bar].sum(axis=0).max() / (bottom - top) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("name", ["no-such-folder/x.png", "x.bogus"])
def test_a_path_that_cannot_be_written_is_named(tmp_path, name):
    with pytest.raises(InputError, match=name.split("/")[-1]):
        draw_curves([{"epoch": 1, "train_loss": 1.0}], tmp_path / name)


def test_pyplot_and_its_global_state_stay_untouched(tmp_path):
    code = (
        "import sys; from carousel.common.plots import draw_curves;"
        f"draw_curves([{{'epoch': 1, 'train_loss': 2.0}}], {str(tmp_path / 'x.png')!r});"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 2)), max_size=12))
def test_labels_on_one_level_do_not_overlap_where_there_is_room(found: list[tuple[float, float]]) -> None:
    starts = [start for start, _ in sorted(found)]
    ends = [start + width for start, width in sorted(found)]
    taken = levels(starts, ends, 3)
    for k, (start, level) in enumerate(zip(starts, taken, strict=True)):
        before = [(end, at) for end, at in zip(ends[:k], taken[:k], strict=True)]
        reached = [max([end for end, at in before if at == n], default=-1.0) for n in range(3)]
        if any(end <= start for end in reached):
            assert reached[level] <= start


def test_a_spectrogram_has_its_frequencies_and_no_letter_lies_on_another(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("carousel.common.plots.write_picture", lambda figure, path: figures.append(figure))
    alphabet, fires = Alphabet("abc"), {20: "a", 21: "b", 22: "c", 23: "a", 60: "b"}
    hertz = np.linspace(0, 8000, 81)
    draw_activations(
        np.zeros((81, 80)), firing(alphabet, 80, fires), hypothesis(fires), alphabet, tmp_path / "a.png",
        seconds=0.01, hertz=hertz,
    )  # fmt: skip
    (figure,) = figures
    above, below = figure.axes
    marks = dict(
        zip((label.get_text() for label in above.get_yticklabels()), above.get_yticks(), strict=True)
    )
    assert marks["1,000"] == pytest.approx(10.5) and marks["8,000"] == pytest.approx(80.5)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in below.texts]
    assert len(boxes) == 5
    assert not [k for k, box in enumerate(boxes) for other in boxes[:k] if box.overlaps(other)]
    assert [text.get_text() for text in below.get_legend().get_texts()] == ["blank"]
