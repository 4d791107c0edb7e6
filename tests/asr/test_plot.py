"""Pictures of recordings with what was read of them."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from carousel.asr import plot
from carousel.asr.cli import main
from carousel.common.cli.inputs import Input
from carousel.common.decoding import Symbol
from carousel.common.domain import Transcript
from carousel.common.errors import InputError
from tests.tiny import tiny_model


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(1, 12)), max_size=12))
def test_labels_on_one_level_do_not_overlap_where_there_is_room(found) -> None:
    words = [Symbol("x" * count, start, start + 0.1, 0.5) for start, count in sorted(found)]
    taken = plot.levels(words)
    for k, (word, level) in enumerate(zip(words, taken, strict=True)):
        before = [(w, at) for w, at in zip(words[:k], taken[:k], strict=True)]
        ends = [
            max([w.start + plot.LETTER * (len(w.text) + 1) for w, at in before if at == n], default=-1)
            for n in range(plot.LEVELS)
        ]
        if any(end <= word.start for end in ends):
            assert ends[level] <= word.start


def test_a_tone_stands_at_its_frequency() -> None:
    time = np.arange(plot.RATE) / plot.RATE
    power = plot.spectrogram(np.sin(2 * np.pi * 2000 * time).astype(np.float32))
    assert power.shape == (101, plot.WINDOW // 2 + 1)
    assert power[50].argmax() == round(2000 * plot.WINDOW / plot.RATE)


def test_rows_and_words_are_drawn() -> None:
    words = [Symbol("seven", 1.0, 1.5, 0.9), Symbol("$x$", 12.0, 12.5, 0.1)]
    figure = plot.drawing(np.zeros(25 * plot.RATE, np.float32), words, "a $b$ <c>")
    assert len(figure.axes) == 3
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["seven"], ["$x$"], []]
    assert [axes.get_xlim() for axes in figure.axes] == [(0, 10), (10, 20), (20, 30)]


def test_what_cannot_be_drawn_is_told(tmp_path) -> None:
    with pytest.raises(InputError, match="through a pipe"):
        plot.draw_recording(Transcript(()), Input("-", None, "stdin"), tmp_path / "a.png")


def test_transcribe_draws_each_recording(tmp_path, capsys) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors", "speech", name="tiny")
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    words = ["transcribe", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--model", str(model)]
    assert main([*words, "--plot", str(tmp_path / "p.png")]) == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {"p.a.png", "p.b.png"}
