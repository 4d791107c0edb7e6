"""Trains a model of speech on for fewer word errors, not for likelier texts:
python -m carousel.recipes.expected_errors --model M --train MANIFEST --valid MANIFEST OUTPUT.safetensors

The expected number of word errors of what the network's frames say (Graves & Jaitly 2014, Towards End-to-End
Speech Recognition with Recurrent Neural Networks, section 4): paths are drawn from the outputs, and each is
made likelier or less likely by its errors against the mean of the others drawn with it (REINFORCE with a
leave-one-out baseline: Williams 1992; Kool, van Hoof & Welling 2019), where Graves & Jaitly change one frame
at a time. Dropout stays on, so that there are errors to learn from, and CTC's own loss keeps the texts
likely. What is written has the fewest word errors on valid, greedy; the model that was given is among the
choices.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from carousel.asr.domain import SPEECH
from carousel.common.cli.options import number
from carousel.common.cli.prepare import run
from carousel.common.cli.streams import say, show
from carousel.common.ctc.loss import ctc_loss, frames_needed
from carousel.common.data.batching import bucketed_batches, pad
from carousel.common.data.manifest import Sample, read_manifest
from carousel.common.errors import InputError
from carousel.common.model import file as model_file
from carousel.common.model.catalogue import open_model
from carousel.common.model.file import Model
from carousel.common.recogniser import recognise
from carousel.common.text.alphabet import BLANK, Alphabet
from carousel.common.text.metrics import Report, edits, error_rates

OPTIONS: dict[str, dict[str, Any]] = {
    "output": {"help": "the model to write, ….safetensors"},
    "--model": {
        "required": True,
        "metavar": "M",
        "help": "the model to begin with: name, file or run folder",
    },
    "--train": {"required": True, "metavar": "MANIFEST", "help": "what to learn from"},
    "--valid": {"required": True, "metavar": "MANIFEST", "help": "what chooses among the epochs"},
    "--epochs": {
        "type": number(1, 1000, int),
        "default": 4,
        "metavar": "N",
        "help": "(default: %(default)s)",
    },
    "--rate": {"type": number(0, 1), "default": 1e-4, "help": "of Adam (default: %(default)s)"},
    "--paths": {
        "type": number(2, 1000, int),
        "default": 8,
        "metavar": "N",
        "help": "drawn of each utterance (default: %(default)s)",
    },
    "--ctc": {
        "type": number(0, 1000),
        "default": 0.1,
        "metavar": "SHARE",
        "help": "weight of CTC's loss a symbol beside expected errors a word (default: %(default)s)",
    },
    "--seed": {"type": number(0, 2**31, int), "default": 1, "metavar": "N", "help": "(default: %(default)s)"},
}
BATCH_FRAMES, BATCH_ITEMS = 6000, 32
CLIP = 1.0  # norm of the gradient


def prepare(arguments: Namespace) -> None:
    """Raises InputError for a model and manifests that cannot be used."""
    model = open_model(arguments.model, SPEECH.models, (SPEECH.name,))
    if not isinstance(model.network, nn.Module):
        raise InputError(f"{arguments.model}: is an ONNX graph, which cannot be trained")
    torch.manual_seed(arguments.seed)
    learnt, valid = (list(read_manifest(path)) for path in (arguments.train, arguments.valid))
    arrays = [SPEECH.work.read(sample, model.features) for sample in learnt]
    held_out = [SPEECH.work.read(sample, model.features) for sample in valid]
    model.network.requires_grad_(True)
    optimizer = torch.optim.Adam(model.network.parameters(), lr=arguments.rate)
    best, kept = _measure(model, valid, held_out), _weights(model)
    say(f"before: {_told(best)}")
    for epoch in range(arguments.epochs):
        expected = _epoch(model, learnt, arrays, optimizer, arguments, epoch)
        found = _measure(model, valid, held_out)
        say(f"epoch {epoch + 1}: {expected:.4f} expected errors a word of train, {_told(found)}")
        if found["wer"] < best["wer"]:
            best, kept = found, _weights(model)
    model_file.save_like(arguments.output, model, kept, {"name": arguments.output.stem})
    show(f"{arguments.output}: {_told(best)}")


def _weights(model: Model) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.network.state_dict().items()}


def _told(report: Report) -> str:
    low, high = report["wer_interval"]
    return (
        f"valid CER {100 * report['cer']:.2f} % WER {100 * report['wer']:.2f} %"
        f" ({100 * low:.2f} to {100 * high:.2f})"
    )


def _measure(model: Model, samples: Sequence[Sample], arrays: Sequence[np.ndarray]) -> Report:
    model.network.eval()
    found = recognise(model, arrays, decoder="greedy")
    return error_rates((one.text, nbest[0].text) for one, nbest in zip(samples, found, strict=True))


def _epoch(
    model: Model,
    samples: Sequence[Sample],
    arrays: Sequence[np.ndarray],
    optimizer: torch.optim.Optimizer,
    arguments: Namespace,
    epoch: int,
) -> float:
    """The mean number of errors a word of the paths that were drawn."""
    model.network.train()
    lengths = [len(array) for array in arrays]
    errors = words = 0.0
    for rows in bucketed_batches(lengths, BATCH_FRAMES, BATCH_ITEMS, arguments.seed, epoch):
        log_probs, frames = model.network(*pad([arrays[row] for row in rows]))
        texts = [samples[row].text for row in rows]
        drawn, losses = expected_errors(log_probs, frames, texts, model.alphabet, arguments.paths)
        targets = [torch.tensor(model.alphabet.encode(text)) for text in texts]
        likely = ctc_loss(log_probs, frames, targets, zero_infinity=True)
        needed = torch.tensor([max(frames_needed(target), 1) for target in targets])
        loss = (losses + arguments.ctc * likely / needed).mean()
        optimizer.zero_grad()
        loss.backward()
        if nn.utils.clip_grad_norm_(model.network.parameters(), CLIP).isfinite():
            optimizer.step()
        errors += float(drawn.mean(1).sum())
        words += sum(len(text.split()) for text in texts)
    return errors / max(words, 1)


def expected_errors(
    log_probs: Tensor, lengths: Tensor, texts: Sequence[str], alphabet: Alphabet, paths: int
) -> tuple[Tensor, Tensor]:
    """Word errors of paths that are drawn, and a loss whose gradient estimates that of their expectation.

    log_probs: (batch, frames, symbols) natural log; lengths: (batch,) frames of each. Returns (batch, paths)
    errors and (batch,) losses, errors a word of the text; the values of the losses mean nothing.
    """
    with torch.no_grad():
        batch, frames, symbols = log_probs.shape
        drawn = torch.multinomial(log_probs.exp().reshape(-1, symbols), paths, replacement=True)
        drawn = drawn.view(batch, frames, paths).transpose(1, 2)  # (batch, paths, frames)
        errors = torch.tensor(
            [
                [float(word_errors(text, path[:length], alphabet)) for path in several.tolist()]
                for text, several, length in zip(texts, drawn, lengths.tolist(), strict=True)
            ]
        )
        others = (errors.sum(1, keepdim=True) - errors) / (paths - 1)
        words = torch.tensor([max(len(text.split()), 1) for text in texts])
    inside = torch.arange(frames) < lengths[:, None, None]
    of_frames = log_probs[:, None].expand(-1, paths, -1, -1).gather(3, drawn[..., None])[..., 0]
    of_paths = (of_frames * inside).sum(2)
    return errors, ((errors - others) * of_paths).mean(1) / words


def word_errors(text: str, path: Sequence[int], alphabet: Alphabet) -> int:
    """Edits between the words of a text and those that a path of output frames says."""
    merged = [index for k, index in enumerate(path) if index != BLANK and (not k or path[k - 1] != index)]
    return edits(text.split(), alphabet.decode(merged).split()).errors


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
