"""Training of LSTM language models: truncated back-propagation through time over a running text.

`rows` places of the text are read side by side, `window` tokens at a time; the state goes on from window to
window, the gradient does not (Williams & Peng 1990). So a step depends on the one before, and nothing is
shuffled or sorted by length: that is why common.train.loop, which does both, does not serve here. Optimizer,
schedule, precision and checkpoints are the same.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from carousel.common.data.manifest import read_manifest
from carousel.common.errors import InputError
from carousel.common.language.lstm import (
    END,
    UNKNOWN,
    UNKNOWN_ID,
    LanguageModel,
    LanguageNetwork,
    State,
    load,
    split,
)
from carousel.common.language.texts import Fit, read_texts
from carousel.common.text.alphabet import Alphabet
from carousel.common.train.checkpoint import part
from carousel.common.train.device import make_fabric
from carousel.common.train.optimizers import make_optimizer, weight_noise
from carousel.common.train.runs import BEST, LAST, claimed, save_config
from carousel.common.train.start import check_taken
from carousel.common.train.training import Training
from carousel.common.train.validation import write_metrics

log = logging.getLogger(__name__)

PIECE = 100  # lines of a text that are one session, so that several can be read side by side
MOST = 3000  # lines on which a training tells what the carried state is worth


def train(config: dict[str, Any], alphabet: Alphabet | None, folder: Path) -> Path:
    """Trains by a resolved configuration (common.settings.training) and returns the best model's file.

    alphabet: of the recogniser in whose letters texts are taken. folder: of the run; gets best.safetensors
    (the model of the lowest valid perplexity), last.safetensors (to resume from), config.yaml and
    metrics.csv.
    Raises InputError for what the user gave, and for a folder that holds another run unless `resume` is set.
    """
    fabric = make_fabric({**config["trainer"], "devices": 1})
    if fabric.world_size > 1:
        raise InputError("a language model is trained by one process: start it without torchrun")
    with claimed(folder, config["resume"], fabric):
        training = _Training(config, alphabet, folder, fabric)
        save_config(config, folder)
        training.run()
        training.tell()
    return folder / BEST


class _Training(Training):
    """The training of a language model: windows of a running text, and the state that goes on in it."""

    unit, measure, pace = "step", "valid perplexity", "validations"

    def __init__(self, config: dict[str, Any], alphabet: Alphabet | None, folder: Path, fabric: Any):
        super().__init__(config, folder, fabric, loss=0.0, tokens=0)
        resumed = self.saved
        self.letters = resumed[1].get("fit") if resumed else alphabet and alphabet.symbols
        self.fit = Fit(Alphabet(self.letters) if self.letters else None)
        train_lines = list(self._lines(config["data"]["train"]))
        self.sessions = list(sessions(config["data"]["valid"], self.fit))
        if self.fit.left_out:
            log.info(self.fit.note())
        # what a training was started from has no part in going on with it
        start = load(config["init"]) if config["init"] and not resumed else None
        before = resumed[1].get("tokens", ()) if resumed else start.tokens if start else ()
        self.model = self._model(train_lines, before)
        self.text = rows_of(stream(self.model, train_lines), self.trainer["rows"])
        lines = [line for session in self.sessions for line in session]
        self.valid = rows_of(stream(self.model, lines), self.trainer["rows"])
        self.windows = -(-(self.text.shape[1] - 1) // self.trainer["window"])
        optimizer = make_optimizer(self.model.network, config["optimizer"])
        self.network = self.model.network
        self.module, self.optimizer = self.fabric.setup(self.network, optimizer)
        self.carried: State | None = None
        if start:
            self._take_over(start)
        if resumed:
            self._go_on(*resumed)
        log.info(
            "train: %s tokens, %d different; valid: %s tokens; %s weights",
            f"{self.text.numel():,}",
            len(self.model.tokens),
            f"{self.valid.numel():,}",
            f"{sum(p.numel() for p in self.model.network.parameters()):,}",
        )

    # -- setting up

    def _lines(self, names: str | Sequence[str]) -> Iterator[str]:
        for name in [names] if isinstance(names, str) else names:
            yield from filter(None, map(self.fit, read_texts(Path(name))))

    def _model(self, lines: Sequence[str], before: Sequence[str]) -> LanguageModel:
        """before: tokens of the model that the training begins with or goes on with, which stay."""
        config = self.config
        counts = Counter(token for line in lines for token in split(line, config["unit"]))
        if config["running"]:
            counts[" "] += len(lines)  # what parts them
        if not counts:
            raise InputError(f"data.train={config['data']['train']}: there is no text in it")
        kept = sorted(counts, key=lambda token: (-counts[token], token))[: config["vocabulary"]]
        self.own = len(kept)
        others = [token for token in before[2:] if token not in counts]
        tokens = (UNKNOWN, END, *[*kept, *others][: config["vocabulary"]])
        network = LanguageNetwork(len(tokens), config["network"])
        card = {"name": config["name"], **config["card"]}
        folded = max(len(counts) - len(kept), 1)
        return LanguageModel(
            network,
            tokens,
            config["network"],
            config["unit"],
            config["running"],
            folded,
            card=card,
            half=self.trainer["half"],
        )

    def _take_over(self, theirs: LanguageModel) -> None:
        """Starts from another model: weights where the shape agrees, rows of tokens by their name."""
        path = self.config["init"]
        if theirs.unit != self.model.unit:
            raise InputError(f"init={path}: is over {theirs.unit}: give unit={theirs.unit}")
        ours, given = self.model.network.state_dict(), theirs.network.state_dict()
        known = [(n, theirs.index[t]) for n, t in enumerate(self.model.tokens) if t in theirs.index]
        to, of = map(list, zip(*known, strict=True))
        taken = 0
        for name, tensor in ours.items():
            by_token = name.startswith(("embedding.", "head."))
            if tensor.shape[by_token:] == given.get(name, torch.empty(0)).shape[by_token:]:
                taken += 1
                if by_token:
                    tensor[to] = given[name][of]
                else:
                    tensor.copy_(given[name])
        check_taken(path, taken, len(ours))
        count = f"{len(to)} of {len(self.model.tokens)} tokens"
        log.info("from %s: %d of %d tensors, %s", path, taken, len(ours), count)

    def _go_on(self, tensors: dict[str, Tensor], saved: dict[str, Any]) -> None:
        path = self.folder / LAST
        if (saved.get("tokens"), saved.get("own", self.own)) != (list(self.model.tokens), self.own):
            raise InputError(f"{path}: was trained on other texts; resume with the texts it began with")
        carried = part(tensors, "carried")
        if carried:
            layers: dict[int, list[Tensor]] = {}
            for name in sorted(carried, key=lambda name: [int(n) for n in name.split(".")]):
                layers.setdefault(int(name.split(".")[0]), []).append(carried[name])
            self.carried = [tuple(parts) for parts in layers.values()]
        self._resume(tensors, saved, load)

    def _known(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        carried = {
            f"{k}.{n}": part for k, layer in enumerate(self.carried or []) for n, part in enumerate(layer)
        }
        return {"tokens": self.model.tokens, "own": self.own, "fit": self.letters}, carried

    def _validate_again(self) -> None:
        self.state["best"], self.state["best_step"] = self._validate(), self.state["step"]
        self._save_model()

    # -- the loop

    def _validation_steps(self) -> int:
        return self.trainer["validate_every"]

    def _advance(self) -> None:
        started = time.monotonic()
        self.module.train()
        for _ in range(min(self.trainer["validate_every"], self.trainer["steps"] - self.state["step"])):
            self._step()
        perplexity = self._validate()
        self.state["seconds"] += time.monotonic() - started
        self._tell_step(perplexity)

    def _step(self) -> None:
        state = self.state
        window = self.trainer["window"]
        at = state["step"] % self.windows * window
        self._begin_step(state["step"] / self.trainer["steps"])
        if at == 0:
            self.carried = None
        if self.carried is not None:
            keep = torch.rand(len(self.text), 1, device=self.fabric.device) >= self.trainer["reset"]
            self.carried = [tuple(part * keep for part in layer) for layer in self.carried]
        with weight_noise(self.network, self.optimizing["weight_noise"]):
            loss, count, carried = self._loss(self.text[:, at : at + window + 1], self.carried)
            self.fabric.backward(loss / count)
        self.carried = [tuple(part.detach() for part in layer) for layer in carried]
        if self._take_step(loss):
            state["loss"] += float(loss.detach())
            state["tokens"] += count
        state["step"] += 1

    def _loss(self, tokens: Tensor, state: State | None) -> tuple[Tensor, int, State]:
        """Summed loss of a window (rows, steps + 1), the number of tokens, and the state after it."""
        tokens = tokens.to(self.fabric.device).long()
        read, targets = tokens[:, :-1], tokens[:, 1:]
        lengths = torch.full((len(read),), read.shape[1])
        found, state = self.module(read, lengths, state)
        loss = nn.functional.cross_entropy(found.float().flatten(0, 1), targets.flatten(), reduction="sum")
        return loss, targets.numel(), state

    def _validate(self) -> float:
        """Perplexity a token on the valid texts, their rows read on from beginning to end."""
        self.module.eval()
        total, count, state = 0.0, 0, None
        with torch.inference_mode():
            for at in range(0, self.valid.shape[1] - 1, self.trainer["window"]):
                window = self.valid[:, at : at + self.trainer["window"] + 1]
                loss, tokens, state = self._loss(window, state)
                total, count = total + float(loss), count + tokens
        unknown = float((self.valid[:, 1:] == UNKNOWN_ID).sum())
        return math.exp((total + unknown * math.log(self.model.folded)) / count)

    # -- after a validation

    def _tell_step(self, perplexity: float) -> None:
        state = self.state
        row = {
            "step": state["step"],
            "minutes": round(state["seconds"] / 60, 3),
            "rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": state["loss"] / max(state["tokens"], 1),
            "valid_perplexity": perplexity,
        }
        log.info(
            "step %d: train %.3f, valid %.3f bits a token (perplexity %.3f), %.1f min",
            row["step"],
            row["train_loss"] / math.log(2),
            math.log2(perplexity),
            perplexity,
            row["minutes"],
        )
        state["loss"], state["tokens"] = 0.0, 0
        self._keep(row, perplexity, self._save_model)
        write_metrics(self.folder, state["rows"])

    def _save_model(self) -> None:
        card = {"training": self._training_card(), "valid": {"perplexity": round(self.state["best"], 4)}}
        self.model.card |= card
        self.model.save(self.folder / BEST)

    def tell(self) -> None:
        """What the carried state is worth, on the first valid texts line by line."""
        best = load(self.folder / BEST)
        told, lines = [], 0
        for session in self.sessions:
            if lines < MOST:
                told.append(session)
                lines += len(session)
        for carry, how in ((True, "going on from line to line of a session"), (False, "each line by itself")):
            perplexity, count = best.perplexity(told, carry)
            log.info(
                "best, %s: %.3f bits a token (perplexity %.3f), %s tokens",
                how,
                math.log2(perplexity),
                perplexity,
                f"{count:,}",
            )


# -- parts without state


def sessions(names: str | Sequence[str], fit: Any) -> Iterator[list[str]]:
    """Lines that belong together, in their order: PIECE of a text, or a manifest's rows of one writer."""
    for name in [names] if isinstance(names, str) else names:
        path = Path(name)
        if path.name.endswith((".jsonl", ".jsonl.gz")):
            for _, samples in groupby(read_manifest(path), key=lambda sample: sample.group):
                yield [line for sample in samples if (line := fit(sample.text))]
        else:
            lines = (line for text in read_texts(path) if (line := fit(text)))
            while piece := list(islice(lines, PIECE)):
                yield piece


def stream(model: LanguageModel, lines: Sequence[str]) -> Tensor:
    """(tokens,) int32: the lines, a mark before each and after the last."""
    numbers: list[int] = [model.mark]
    for line in lines:
        numbers += [*model.numbers(line), model.mark]
    return torch.from_numpy(np.array(numbers, np.int32))


def rows_of(tokens: Tensor, rows: int) -> Tensor:
    """(rows, length): a text cut into pieces of one length, the last token of each the first of the next.

    Fewer rows where the text is too short for them. What is left over, less than a token a row, is lost.
    """
    if len(tokens) < 2:
        raise InputError("a text to train or validate on is empty; give one with at least a line")
    rows = max(min(rows, (len(tokens) - 1) // 100), 1)
    length = (len(tokens) - 1) // rows
    return torch.stack([tokens[k * length : (k + 1) * length + 1] for k in range(rows)])
