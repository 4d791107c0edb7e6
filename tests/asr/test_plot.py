"""Pictures of recordings with what was read of them."""

import json

import numpy as np
import pytest
import soundfile

from carousel.asr import plot
from carousel.asr.cli import main
from carousel.common.cli.inputs import Input
from carousel.common.decoding import Symbol
from carousel.common.domain import Transcript
from carousel.common.errors import InputError
from tests.tiny import tiny_model


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


def test_a_part_of_a_recording_is_drawn_alone(tmp_path, monkeypatch) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors", "speech", name="tiny")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 48000), 16000)
    row = {"audio": "a.wav", "text": "ab", "start": 1.0, "end": 2.5}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    drawn = []
    monkeypatch.setattr(
        plot, "drawing", lambda wave, words, title, begins: drawn.append((wave, words, begins))
    )
    monkeypatch.setattr(plot, "write_picture", lambda figure, path: None)
    words = ["--model", str(model), "--plot", str(tmp_path / "p.png")]
    assert main(["align", str(tmp_path / "m.jsonl"), *words]) == 0
    ((wave, found, begins),) = drawn
    assert begins == 1.0 and len(wave) == 24000 and [word.text for word in found] == ["ab"]
    assert begins <= found[0].start < found[0].end <= begins + 1.5
    monkeypatch.undo()
    (axes,) = plot.drawing(wave, found, "", begins).axes
    assert axes.get_xlim() == (1, 11) and axes.images[0].get_extent()[0] == 1


def test_found_keywords_are_drawn(tmp_path, monkeypatch) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors", "speech", name="tiny")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 48000), 16000)
    drawn = []
    monkeypatch.setattr(plot, "drawing", lambda wave, words, title, begins: drawn.append(words))
    monkeypatch.setattr(plot, "write_picture", lambda figure, path: None)
    words = ["--model", str(model), "--plot", str(tmp_path / "p.png"), "--threshold", "0"]
    assert main(["spot", "ab,b", str(tmp_path / "a.wav"), *words]) == 0
    assert {word.text for word in drawn[0]} <= {"ab", "b"} and drawn[0]
