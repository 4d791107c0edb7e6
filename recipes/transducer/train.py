"""The training of a transducer from a CTC model, and its error rates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from carousel.common.cli.streams import show
from carousel.common.data.batching import bucketed_batches
from carousel.common.recogniser import recognise
from carousel.common.settings.field import defaults
from carousel.common.settings.training import GROUPS, AdamW, Trainer
from carousel.common.text.metrics import Report, error_rates
from carousel.common.train.data import Batch, Batches, Corpus, MemoryCache, build_corpus, load_samples, loader
from carousel.common.train.optimizers import averaged, learning_rate, make_optimizer, update_average
from carousel.recipes.transducer.loss import transducer_loss
from carousel.recipes.transducer.model import open_ctc, read, save
from carousel.recipes.transducer.network import Transducer
from carousel.recipes.transducer.search import beam, greedy
from carousel.recogniser import Recogniser

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """How a transducer is trained; what is not said here is as of Trainer and AdamW."""

    epochs: int = 30
    batch: int = 6000  # feature frames, padding included
    rate: float = 0.002  # at its highest
    seed: int = 1
    tuned: bool = False  # the encoder learns as well
    varied: bool = True  # by the augment settings of its domain
    predicting: int = 128
    joint: int = 256
    dropout: float = 0.3  # of what goes into the joint network
    most: int = 5  # labels in a frame, of the greedy search of validation


def train(choice: str, manifests: Sequence[Path], valid: Path, folder: Path, plan: Plan) -> None:
    """Trains on manifests and leaves in `folder` what had the lowest valid CER. Raises InputError."""
    ctc, start = open_ctc(choice)
    torch.manual_seed(plan.seed)
    sizes = {"predicting": plan.predicting, "joint": plan.joint, "dropout": plan.dropout}
    network = Transducer(start, **sizes)  # type: ignore[arg-type]
    for part in (network.front, network.lstm):
        part.requires_grad_(plan.tuned)
    model = ctc.model
    augment = defaults(GROUPS["augment"][model.domain]) if plan.varied else None
    samples = load_samples([str(path) for path in manifests], model.card.get("text"))
    cache = MemoryCache(Trainer.cache_megabytes * 1e6)
    # a transducer needs no frame for each label; fewer frames of features than labels no speaker has
    corpus = build_corpus(
        samples, model.alphabet, ctc.domain.work.read, model.features, augment, cache, lambda n: n
    )
    said, arrays = data(ctc, valid)
    rows: list[dict[str, Any]] = []

    def validate(tensors: Tensors, row: dict[str, Any]) -> None:
        texts = read(network, arrays, model.alphabet, partial(greedy, most=plan.most))
        rates = error_rates(zip(said, texts, strict=True))
        row |= {"valid_cer": rates["cer"], "valid_wer": rates["wer"]}
        show(", ".join(f"{key} {value:.4g}" for key, value in row.items()))
        if all(row["valid_cer"] < earlier["valid_cer"] for earlier in rows):
            save(folder, tensors, {"ctc": choice, "network": sizes, "plan": asdict(plan), "best": row})
        rows.append(row)

    fit(network, corpus, plan, validate)


def fit(
    network: Transducer, corpus: Corpus, plan: Plan, validate: Callable[[Tensors, dict[str, Any]], None]
) -> None:
    """The epochs of a training. validate: called after each with averaged weights, which are in the network
    for as long, and with a row of the epoch's figures."""
    settings = defaults(AdamW) | {"rate": plan.rate}
    optimizer = make_optimizer(network, settings)
    average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    began, steps = time.monotonic(), 0
    for epoch in range(plan.epochs):
        network.train()
        for part in (network.front, network.lstm):
            part.train(plan.tuned)
        batches = bucketed_batches(corpus.lengths, plan.batch, Trainer.max_items, plan.seed, epoch)
        total, symbols = 0.0, 0
        for number, batch in enumerate(loader(Batches(corpus, batches, plan.seed, epoch), 0)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, (epoch + number / len(batches)) / plan.epochs)
            total += step(network, batch, optimizer, settings["clip"])
            symbols += len(batch.targets)
            steps += 1
            update_average(average, network, Trainer.ema, steps)
        network.eval()
        minutes = (time.monotonic() - began) / 60
        with averaged(network, average):
            validate(average, {"epoch": epoch + 1, "minutes": minutes, "loss": total / max(symbols, 1)})


def step(network: Transducer, batch: Batch, optimizer: torch.optim.Optimizer, clip: float) -> float:
    """One step on a batch; its summed loss."""
    sizes = batch.target_lengths
    targets = nn.utils.rnn.pad_sequence(list(batch.targets.split(sizes.tolist())), batch_first=True)
    log_probs, frames = network(batch.features, batch.lengths, targets, sizes)
    loss = transducer_loss(log_probs, frames, targets, sizes, "sum")
    optimizer.zero_grad(set_to_none=True)
    (loss / max(len(batch.targets), 1)).backward()
    nn.utils.clip_grad_norm_(network.parameters(), clip, error_if_nonfinite=True)
    optimizer.step()
    return float(loss.detach())


def data(ctc: Recogniser, manifest: Path) -> tuple[list[str], list[np.ndarray]]:
    """The texts and the features of a manifest. Raises InputError for a sample that cannot be read."""
    samples = load_samples(str(manifest), ctc.model.card.get("text"))
    arrays = [ctc.domain.work.read(sample, ctc.model.features) for sample in samples]
    return [sample.text for sample in samples], arrays


def evaluate(
    network: Transducer, ctc: Recogniser, manifest: Path, width: int, most: int
) -> dict[str, Report]:
    """Error rates of the CTC model's greedy reading, and of the transducer's by both searches."""
    said, arrays = data(ctc, manifest)
    best_paths = [nbest[0].text for nbest in recognise(ctc.model, arrays, decoder="greedy")]
    found = {"ctc, greedy": error_rates(zip(said, best_paths, strict=True))}
    searches = {"greedy": partial(greedy, most=most), f"beam {width}": partial(beam, width=width)}
    for name, search in searches.items():
        texts = read(network, arrays, ctc.model.alphabet, search)
        found[f"transducer, {name}"] = error_rates(zip(said, texts, strict=True))
    return found
