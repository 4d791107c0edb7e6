"""Expected word errors against enumeration, and a training that lowers them."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from carousel.common.cli.prepare import run
from carousel.common.decoding import decode
from carousel.common.model import file as model_file
from carousel.common.text.alphabet import Alphabet
from carousel.recipes import expected_errors
from carousel.recipes.expected_errors import expected_errors as estimate
from carousel.recipes.expected_errors import word_errors
from tests.tiny import tiny_model

AB = Alphabet(["a", " ", "b"])


def exact(log_probs: torch.Tensor, text: str) -> torch.Tensor:
    """The expectation itself, errors a word: all paths, their probabilities by their errors."""
    frames, symbols = log_probs.shape
    total = torch.zeros(())
    for path in itertools.product(range(symbols), repeat=frames):
        chance = log_probs[torch.arange(frames), list(path)].sum().exp()
        total = total + chance * word_errors(text, path, AB)
    return total / len(text.split())


def test_the_estimate_is_that_of_all_paths():
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 4, requires_grad=True)
    lengths, texts = torch.tensor([3, 2]), ["a b", "b"]
    log_probs = logits.log_softmax(-1)
    expected = torch.stack([exact(log_probs[0], "a b"), exact(log_probs[1, :2], "b")])
    (wanted,) = torch.autograd.grad(expected.sum(), logits, retain_graph=True)
    errors, losses = estimate(log_probs, lengths, texts, AB, 60_000)
    (found,) = torch.autograd.grad(losses.sum(), logits)
    torch.testing.assert_close(
        errors.mean(1) / torch.tensor([2.0, 1.0]), expected.detach(), atol=0.02, rtol=0
    )
    torch.testing.assert_close(found, wanted, atol=0.01, rtol=0)
    assert wanted.abs().max() > 0.05 and not found[1, 2].any()  # padding has no part in it


def test_errors_of_a_path_are_those_of_the_decoder():
    rng = np.random.default_rng(2)
    for _ in range(50):
        path = rng.integers(4, size=8).tolist()
        scores = np.full((8, 4), -20.0)
        scores[np.arange(8), path] = 0.0
        said = decode(scores, AB)[0].text
        assert word_errors(said, path, AB) == 0
        assert word_errors(f"{said} bb", path, AB) == 1


def test_errors_become_fewer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """From random weights and CTC's share switched on, in a few steps; and what is written can be read."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(6):
        tone = np.sin(np.arange(1600) * (0.2 if number % 2 else 0.9)) + 0.01 * rng.normal(size=1600)
        soundfile.write(tmp_path / f"{number}.wav", 0.3 * tone, 16000)
        rows.append({"audio": f"{number}.wav", "text": "a" if number % 2 else "b"})
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    start = tiny_model(tmp_path / "start.safetensors", "speech", "ab", scale=1)
    output = tmp_path / "out.safetensors"
    words = ["--model", str(start), "--train", str(manifest), "--valid", str(manifest), str(output)]
    assert run(expected_errors, [*words, "--epochs", "40", "--rate", "0.03", "--ctc", "1"]) == 0
    told = capsys.readouterr()
    assert "WER 0.00 %" in told.out and "before: valid CER" in told.err
    before, after = model_file.load(start), model_file.load(output)
    assert after.alphabet == before.alphabet and after.card["name"] == "out"
