"""Sound that comes while it is spoken, over a WebSocket: text that grows, and the final text at the end."""

from __future__ import annotations

import asyncio
import io
import json
import time
import wave
from typing import Any

import numpy as np
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from carousel.common.errors import InputError, sentence
from carousel.common.serve.engine import Engine

EVERY = 0.5  # s of new sound after which all that was heard is read anew
PATIENCE = 30.0  # s without a block after which a recording is given up
FORMATS: dict[str, np.dtype[Any]] = {"pcm16": np.dtype("<i2"), "float32": np.dtype("<f4")}
RATES = (8000, 192_000)  # Hz


def add(app: FastAPI, engine: Engine) -> None:
    @app.websocket("/v1/live")
    async def live(
        socket: WebSocket, model: str = "", format: str = "pcm16", sample_rate: int = 16000
    ) -> None:
        """Takes blocks of mono sound as binary messages and any text message as the end; sends
        {"type": "partial" | "final" | "error", …}."""
        await socket.accept()
        try:
            await _session(socket, engine, model, format, sample_rate)
        except WebSocketDisconnect:
            return
        except Exception as error:
            await socket.send_json({"type": "error", "message": sentence(error)})
        await socket.close()


async def _session(socket: WebSocket, engine: Engine, model: str, form: str, rate: int) -> None:
    if form not in FORMATS or not RATES[0] <= rate <= RATES[1]:
        raise InputError(f"{form} at {rate} Hz: send pcm16 or float32 at {RATES[0]} to {RATES[1]} Hz")
    sound, size = bytearray(), FORMATS[form].itemsize
    longest = int(engine.site.limits.minutes * 60 * rate) * size
    partial: asyncio.Task[None] | None = None
    told = 0
    try:
        while (block := await _block(socket)) is not None:
            sound += block
            if len(sound) > longest:
                raise InputError(f"is longer than {engine.site.limits.minutes:g} minutes; begin a new one")
            if len(sound) - told >= EVERY * rate * size and (partial is None or partial.done()):
                told = len(sound)
                partial = asyncio.create_task(_partial(socket, engine, model, as_wav(sound, form, rate)))
        if partial is not None:
            await partial
    finally:
        if partial is not None:
            partial.cancel()
    reading = await engine.read(as_wav(sound, form, rate), model, activations=True)
    whole = json.loads(engine.site.write("json", reading.transcript, "live", reading.model, b""))
    await socket.send_json({"type": "final", **whole, "activations": reading.activations})


async def _block(socket: WebSocket) -> bytes | None:
    """The next block, or None at the end. Raises InputError where none comes."""
    try:
        message: dict[str, Any] = dict(await asyncio.wait_for(socket.receive(), PATIENCE))
    except TimeoutError:
        raise InputError(f"no sound came for {PATIENCE:g} s") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1000)
    return message.get("bytes")


async def _partial(socket: WebSocket, engine: Engine, model: str, sound: io.BytesIO) -> None:
    """What was said so far. The network reads both ways, so all of it is read anew; the wait after it grows
    with the time that takes."""
    started = time.monotonic()
    try:
        reading = await engine.read(sound, model)
    except InputError:  # too short to make out a sound, for example; the end tells what is wrong
        return
    words = [
        {"text": w.text, "start": w.start, "end": w.end, "confidence": round(w.confidence, 4)}
        for w in reading.transcript.words
    ]
    seconds = round(reading.transcript.about["duration"], 3)
    await socket.send_json(
        {"type": "partial", "text": reading.transcript.text, "words": words, "duration": seconds}
    )
    await asyncio.sleep(time.monotonic() - started)


def as_wav(sound: bytearray, form: str, rate: int) -> io.BytesIO:
    """Blocks as a file of 16 bits, which is read as any other. Raises InputError for half a sample, and for
    floats that are none."""
    dtype = FORMATS[form]
    if not sound or len(sound) % dtype.itemsize:
        raise InputError("no sound came" if not sound else "the blocks end within a sample")
    samples = np.frombuffer(bytes(sound), dtype)
    if form == "float32":
        if not np.isfinite(samples).all():
            raise InputError("the blocks hold values that are not finite numbers")
        samples = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())
    file.seek(0)
    file.name = "the recording"
    return file
