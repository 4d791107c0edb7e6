"""What a training says of itself: the error rates of a valid set, and the log, table and curves of a run."""

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from carousel.common.ctc.loss import ctc_loss
from carousel.common.data.batching import bucketed_batches
from carousel.common.decoding import Hypothesis, decode
from carousel.common.files import atomic_text
from carousel.common.network import Network
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.metrics import Report, error_rates
from carousel.common.train.data import Batches, Corpus, loader
from carousel.common.train.runs import CURVES

log = logging.getLogger(__name__)


def validate(
    network: Network, corpus: Corpus, alphabet: Alphabet, trainer: Mapping[str, Any], device: torch.device
) -> tuple[Report, float, list[tuple[str, Hypothesis]]]:
    """Greedy error rates, loss a symbol, and (reference, hypothesis) of each sample of a valid set.

    The caller puts the network into evaluation.
    """
    batches = bucketed_batches(corpus.lengths, 2 * trainer["max_frames"], 256, 0, 0, shuffle=False)
    pairs: list[tuple[str, Hypothesis]] = []
    total, symbols = 0.0, 0
    for batch in loader(Batches(corpus, batches), trainer["workers"]):
        log_probs, lengths = network(batch.features.to(device), batch.lengths.to(device))
        losses = ctc_loss(log_probs, lengths, batch.targets.to(device), batch.target_lengths)
        total += float(losses[torch.isfinite(losses)].sum())
        symbols += int(batch.target_lengths.sum())
        rows = log_probs.float().cpu().numpy()
        for row, length, index in zip(rows, lengths.tolist(), batch.indices, strict=True):
            pairs.append((corpus.samples[index].text, decode(row[:length], alphabet)[0]))
    rates = error_rates((reference, hypothesis.text) for reference, hypothesis in pairs)
    return rates, total / max(symbols, 1), pairs


def write_metrics(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes metrics.csv of a run; a row may lack what others have."""
    with atomic_text(folder / "metrics.csv") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def report(folder: Path, rows: Sequence[dict[str, Any]], minutes_left: float) -> None:
    """Writes metrics.csv and curves.png of all epochs, and logs the last one."""
    row = rows[-1]
    write_metrics(folder, rows)
    from carousel.common.plots import draw_curves

    draw_curves(rows, folder / CURVES, title=folder.name)
    valid = (
        f", valid CER {100 * row['valid_cer']:.2f} % WER {100 * row['valid_wer']:.2f} %"
        if "valid_cer" in row
        else ""
    )
    log.info(
        "epoch %d: loss %.3f%s, %s frames/s, %.1f min, at most %.0f min left",
        row["epoch"],
        row["train_loss"],
        valid,
        f"{row['frames_per_second']:,.0f}",
        row["minutes"],
        minutes_left,
    )
    if row["unvaried"]:
        log.warning(
            "epoch %d: %d samples could not be read when varied, and were taken as they are",
            row["epoch"],
            row["unvaried"],
        )
