"""Texts packed by an LSTM language model: what it foresees costs few bits (arithmetic coding).

A text is cut into streams that go through the network side by side, symbol by symbol. Unpacking takes the
same steps, and has to come to the very same floats: a checksum tells where another machine, or another number
of threads, did not. What the model has no token for is its <unk> and a code point.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import torch

from carousel.common.errors import InputError
from carousel.common.language.arithmetic import Decoder, Encoder, cumulative
from carousel.common.language.lstm import END, END_ID, UNKNOWN_ID, LanguageModel

MAGIC = b"CRSL1"
HEADER = struct.Struct("<5sIIIH")  # magic, checksum of the text, of the model, symbols, streams
STREAMS = 64
CODE_POINTS = np.arange(0x110001)  # cumulative counts: all are as likely
LINE = "\n"  # which the model knows as the end of a text


def pack(text: str, model: LanguageModel, streams: int = STREAMS) -> bytes:
    """Raises InputError for a model of words or of running text, which cannot tell all texts apart."""
    _check(model)
    numbers = np.array([_number(symbol, model) for symbol in text], np.int64)
    encoder = Encoder()
    steps = _Steps(model, len(text), streams)
    for places in steps:
        for place, edges in zip(places, steps.edges(), strict=True):
            number = int(numbers[place])
            encoder.encode(int(edges[number]), int(edges[number + 1]))
            if number == UNKNOWN_ID:
                encoder.encode(ord(text[place]), ord(text[place]) + 1, int(CODE_POINTS[-1]))
        steps.read(numbers[places])
    checksum = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    return HEADER.pack(MAGIC, checksum, _identity(model), len(text), streams) + encoder.finish()


def unpack(data: bytes, model: LanguageModel) -> str:
    """What `pack` was given. Raises InputError for other data or another model, or if it came out wrong."""
    _check(model)
    if len(data) < HEADER.size or data[: len(MAGIC)] != MAGIC:
        raise InputError("was not packed by a language model")
    _, checksum, identity, length, streams = HEADER.unpack_from(data)
    if identity != _identity(model):
        raise InputError("was packed by another language model; give that one")
    if not streams or length > 8 * 100_000 * len(data):  # a symbol costs more bits than that
        raise InputError("is damaged: its header cannot be true")
    decoder = Decoder(data[HEADER.size :])
    found = [""] * length
    steps = _Steps(model, length, streams)
    for places in steps:
        numbers = np.zeros(len(places), np.int64)
        for row, (place, edges) in enumerate(zip(places, steps.edges(), strict=True)):
            number = numbers[row] = decoder.decode(edges)
            found[place] = LINE if number == END_ID else model.tokens[number]
            if number == UNKNOWN_ID:
                found[place] = chr(decoder.decode(CODE_POINTS))
        steps.read(numbers)
    text = "".join(found)
    if zlib.crc32(text.encode("utf-8", "surrogatepass")) != checksum:
        raise InputError(
            "came out otherwise than it was packed: the file is damaged, or was packed with other threads or "
            "on another machine"
        )
    return text


class _Steps:
    """The places of a text that are read at each step, and what the network makes of those before."""

    def __init__(self, model: LanguageModel, length: int, streams: int) -> None:
        self.model, self.length = model, length
        self.rows = min(streams, length)
        self.each = -(-length // max(self.rows, 1))  # symbols of a stream
        self.state = self.model.network.lstm.fresh(max(self.rows, 1))
        self.last = np.full(self.rows, model.mark)

    def __iter__(self) -> Iterator[np.ndarray]:
        starts = np.arange(self.rows) * self.each
        for step in range(self.each):
            places = starts + step
            self.now = places < np.minimum(starts + self.each, self.length)
            yield places[self.now]

    def edges(self) -> np.ndarray:
        """Cumulative counts (streams that go on, tokens + 1) of the next symbol. All streams take part."""
        with torch.inference_mode():
            tokens, lengths = torch.from_numpy(self.last)[:, None], torch.ones(self.rows, dtype=torch.long)
            scores, self.state = self.model.network(tokens, lengths, self.state)
            return cumulative(torch.softmax(scores[:, 0].double(), dim=1).numpy())[self.now]

    def read(self, numbers: np.ndarray) -> None:
        self.last[self.now] = numbers


def _number(symbol: str, model: LanguageModel) -> int:
    return END_ID if symbol == LINE else model.index.get(symbol, UNKNOWN_ID)


def _identity(model: LanguageModel) -> int:
    """A checksum of the weights."""
    checksum = zlib.crc32("".join(model.tokens).encode())
    for _, tensor in sorted(model.network.state_dict().items()):
        checksum = zlib.crc32(tensor.float().contiguous().numpy().tobytes(), checksum)
    return checksum


def _check(model: LanguageModel) -> None:
    if model.unit != "characters" or model.running:
        raise InputError("a text is packed by a language model of characters, with lines (running=false)")
    if LINE in model.index or END not in model.index:
        raise InputError("this language model knows line breaks as characters; train another")
