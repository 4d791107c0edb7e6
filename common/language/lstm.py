"""LSTM language models over characters or words (Mikolov et al. 2010; Sundermeyer, Schlüter & Ney 2012).

A text is read as a stream: before each line stands a mark, the end of the one before (a space where lines may
begin and end anywhere in a sentence), and each symbol read gives the probabilities of the next. So what a
line leaves behind, the state, is all that the next one needs to go on from it: the score of two lines, one
from the other's state, is that of the stream of both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from carousel.common.data.batching import batches
from carousel.common.errors import InputError
from carousel.common.files import atomic_write
from carousel.common.lstm.stack import LSTMStack, State
from carousel.common.model.file import BROKEN, CHECKPOINT, reason

FORMAT = "carousel-language-1"
UNKNOWN, END = "<unk>", "</s>"  # the first two tokens; both longer than a character, neither a word of a text
UNKNOWN_ID, END_ID = 0, 1
UNITS = ("characters", "words")
DESCRIPTION = ("tokens", "settings", "unit", "running", "folded", "advice", "card")  # what the header holds
ROOM = 1 << 24  # probabilities in memory at once (texts × tokens × vocabulary): 64 MB


class LanguageNetwork(nn.Module):
    """Tokens → embedding → one-way LSTM layers → scores of the next token, before softmax."""

    def __init__(self, tokens: int, settings: Mapping[str, Any]):
        """settings: those of common.settings.training.LanguageNetwork."""
        super().__init__()
        self.dropout = float(settings["dropout"])
        # as nn.Embedding would draw it, which on the meta device of `load` imports all of torch's compiler
        self.embedding = nn.Embedding.from_pretrained(
            torch.randn(tokens, settings["embedding"]), freeze=False
        )
        self.lstm = LSTMStack(
            settings["embedding"],
            settings["hidden"],
            settings["layers"],
            settings["cell"],
            bidirectional=False,
            dropout=self.dropout,
        )
        self.head = nn.Linear(settings["hidden"], tokens)

    def forward(self, tokens: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """tokens: (batch, steps) integers, of which a row has `lengths` (batch,); state: before the first.

        Returns (batch, steps, tokens) scores and each row's state after its last token.
        """
        x = nn.functional.dropout(self.embedding(tokens), self.dropout, self.training)
        h, state = self.lstm.carry(x, lengths, state)
        return self.head(nn.functional.dropout(h, self.dropout, self.training)), state


@dataclass
class LanguageModel:
    """A network with its tokens. Logarithms are natural."""

    network: LanguageNetwork
    tokens: tuple[str, ...]  # <unk> and </s> first
    settings: dict[str, Any]  # of the network
    unit: str = "characters"
    running: bool = False  # lines begin and end anywhere in a sentence, so a space is all that parts them
    folded: int = 1  # different tokens of the training texts that <unk> stands for
    advice: dict[str, float] = field(default_factory=dict)  # weight and bonus, as tuned on a valid set
    card: dict[str, Any] = field(default_factory=dict)
    half: bool = True  # the file holds weights as float16, which `load` widens again

    def __post_init__(self) -> None:
        self.index = {token: number for number, token in enumerate(self.tokens)}
        self.mark = self.index.get(" ", END_ID) if self.running else END_ID

    def fresh(self) -> State:
        """The state at the begin of a session, of one text."""
        with torch.inference_mode():
            return self.network.lstm.fresh(1)

    def numbers(self, text: str) -> list[int]:
        """The tokens of a text."""
        return [self.index.get(token, UNKNOWN_ID) for token in split(text, self.unit)]

    def score(self, texts: Sequence[str], state: State | None = None) -> tuple[np.ndarray, State]:
        """ln P of each text with the mark after it, (texts,) float64, and the states (texts, …) after them.

        state: before each text, None at the begin of a session. An unknown token has an equal part in the
        probability of <unk>. Texts of like length go through the network together; none touches another.
        """
        rows = [[self.mark, *self.numbers(text)] for text in texts]
        scores = np.zeros(len(rows))
        after = pick(state or join([self.fresh()] * len(rows)), range(len(rows)))  # a copy
        # running text is what is left when lines are joined, and an empty line leaves nothing
        lengths = [0 if self.running and len(row) == 1 else len(row) for row in rows]
        for batch in batches(lengths, ROOM // len(self.tokens)):
            scores[batch], now = self._score([rows[i] for i in batch], pick(after, batch))
            for layer, parts in zip(after, now, strict=True):
                for whole, part in zip(layer, parts, strict=True):
                    whole[batch] = part
        return scores, after

    def _score(self, rows: Sequence[Sequence[int]], state: State | None) -> tuple[np.ndarray, State]:
        lengths = torch.tensor([len(row) for row in rows])
        tokens = torch.zeros(len(rows), int(lengths.max()) + 1, dtype=torch.long)
        for row, numbers in zip(tokens, rows, strict=True):
            row[: len(numbers) + 1] = torch.tensor([*numbers, self.mark])
        targets = tokens[:, 1:]
        with torch.inference_mode():
            found, state = self.network(tokens[:, :-1], lengths, state)
            losses = nn.functional.cross_entropy(found.transpose(1, 2), targets, reduction="none")
        losses = losses + math.log(self.folded) * (targets == UNKNOWN_ID)
        inside = torch.arange(targets.shape[1]) < lengths[:, None]
        return -(losses.double() * inside).sum(1).numpy(), state

    def perplexity(self, sessions: Iterable[Sequence[str]], carry: bool = True) -> tuple[float, int]:
        """Perplexity a token (marks are tokens) of sessions of lines, and how many tokens.

        carry: each line goes on from the state that the one before has left; False: each begins anew.
        """
        total, count = 0.0, 0
        lines = [list(session) for session in sessions]
        turns = range(max(map(len, lines), default=0)) if carry else [0]
        if not carry:
            lines = [[line] for session in lines for line in session]
        before = dict.fromkeys(range(len(lines)), self.fresh())
        for turn in turns:
            now = [i for i, session in enumerate(lines) if len(session) > turn]
            texts = [lines[i][turn] for i in now]
            scores, after = self.score(texts, join([before[i] for i in now]))
            before = {i: pick(after, [row]) for row, i in enumerate(now)}
            total += float(scores.sum())
            count += sum(len(split(text, self.unit)) + 1 for text in texts)
        return math.exp(-total / max(count, 1)), count

    def save(self, path: Path) -> None:
        """Writes a file, whole or not at all."""
        header = {name: getattr(self, name) for name in DESCRIPTION}
        kept = {
            name: (tensor.detach().half() if self.half else tensor.detach().float()).cpu().contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            save_file(kept, partial, {"format": FORMAT, "model": json.dumps(header, ensure_ascii=False)})


def split(text: str, unit: str) -> list[str]:
    """A text as tokens: words between spaces, or characters."""
    return text.split() if unit == "words" else list(text)


def pick(state: State, rows: Sequence[int]) -> State:
    """The states of some texts."""
    return [tuple(part[list(rows)] for part in layer) for layer in state]


def join(states: Sequence[State]) -> State:
    """States of some texts as one batch."""
    return [
        tuple(torch.cat(parts) for parts in zip(*layers, strict=True)) for layers in zip(*states, strict=True)
    ]


def load(path: str | Path) -> LanguageModel:
    """Raises InputError if the file is missing, damaged, or something else than a neural language model."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such language model; `train recipe=language` makes one")
    try:
        with safe_open(path, "pt") as file:
            header = _header(path, file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            half = any(tensor.dtype == torch.float16 for tensor in tensors.values())
            if not 0 < header["settings"]["layers"] <= len(tensors):
                raise ValueError(f"{header['settings']['layers']} layers in {len(tensors)} tensors")
            with torch.device("meta"):  # a header cannot ask for more memory than the file has
                network = LanguageNetwork(len(header["tokens"]), {**header["settings"], "dropout": 0.0})
            network.load_state_dict({name: t.float() for name, t in tensors.items()}, assign=True)
            if not all(bool(t.isfinite().all()) for t in tensors.values()):
                raise ValueError("its weights are not all numbers")
    except InputError:
        raise
    except (OSError, *BROKEN) as error:
        raise InputError(
            f"{path}: is not a language model, or is damaged ({reason(error)}); get it anew"
        ) from None
    network.eval().requires_grad_(False)
    return LanguageModel(network, **{**header, "tokens": tuple(header["tokens"]), "half": half})


def _header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if "carousel" in metadata:
        raise InputError(f"{path}: is a recogniser, not a language model; it is given with --model")
    if CHECKPOINT in metadata:
        raise InputError(f"{path}: is a checkpoint to resume from; the model is best.safetensors beside it")
    if metadata.get("format", "").startswith("carousel-ngrams"):
        raise InputError(
            f"{path}: is an n-gram model, which goes with --lm; `train recipe=language` makes others"
        )
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: is not a language model; `train recipe=language` makes one")
    described = json.loads(metadata["model"])
    header: dict[str, Any] = {name: described[name] for name in DESCRIPTION}
    tokens, advice = header["tokens"], header["advice"]
    sound = (
        isinstance(tokens, list)
        and all(isinstance(token, str) for token in tokens)
        and tokens[:2] == [UNKNOWN, END]
        and len(set(tokens)) == len(tokens)
        and header["unit"] in UNITS
        and isinstance(header["running"], bool)
        and type(header["folded"]) is int
        and header["folded"] >= 1
        and isinstance(header["card"], dict)
        and isinstance(advice, dict)
        and set(advice) <= {"weight", "bonus"}
        and all(isinstance(value, float) and math.isfinite(value) for value in advice.values())
        and advice.get("weight", 0.0) >= 0
    )
    if not sound:
        raise ValueError("its description makes no sense")
    return header
