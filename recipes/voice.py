"""Trains the detector of voices: python -m carousel.recipes.voice asr/voice.safetensors --speech MANIFEST
MANIFEST … --other FOLDER …

Recordings are composed of utterances, of other sounds (files of the folders, music and noise that is made
here) and of silence, each so often at another level, and utterances with other sounds below them. The network
of asr/voice.py learns in which of its frames an utterance runs; pauses inside one count as speech.
"""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch

from carousel.asr import voice
from carousel.asr.augment import sound_files, white_or_pink
from carousel.asr.sound.read import SAMPLE_RATE, read_audio
from carousel.common.cli.prepare import run
from carousel.common.cli.streams import show
from carousel.common.data.batching import pad
from carousel.common.data.manifest import read_manifest
from carousel.common.model import file as model_file
from carousel.common.network import Network
from carousel.common.text.alphabet import Alphabet

OPTIONS = {
    "output": {"help": "the model to write, ….safetensors"},
    "--speech": {"nargs": "+", "type": Path, "required": True, "help": "manifests of utterances"},
    "--other": {"nargs": "+", "type": Path, "required": True, "help": "folders of sounds that are no speech"},
    "--recordings": {"type": int, "default": 1200, "help": "composed for training (default: 1200)"},
    "--epochs": {"type": int, "default": 8, "help": "over them (default: 8)"},
    "--seed": {"type": int, "default": 1, "help": "of all that is drawn (default: 1)"},
}
NETWORK = {"front": "stack", "stride": voice.STRIDE, "hidden": 32, "layers": 2, "cell": "lstm"}
SIZE = int(voice.FEATURES["filters"])
EACH = 250  # utterances of a manifest that are taken
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))  # major, minor, pentatonic
PIECE = 20  # s of music
ROW = 60  # recordings in a batch
RATE = 3e-3  # of learning, falling to 0 as a cosine


def prepare(arguments: Namespace) -> None:
    rng = np.random.default_rng(arguments.seed)
    torch.manual_seed(arguments.seed)
    speech = [wave for manifest in arguments.speech for wave in utterances(manifest, rng)]
    other = [read_audio(path) for folder in arguments.other for path in sound_files(str(folder))]
    other += [music(PIECE * SAMPLE_RATE, rng) for _ in range(len(other) // 2)]
    show(f"{len(speech)} utterances, {len(other)} other sounds")
    samples = [labelled(*compose(speech, other, rng)) for _ in range(arguments.recordings)]
    held = len(samples) // 10
    network = Network(SIZE, 2, NETWORK)
    train(network, samples[held:], samples[:held], arguments.epochs, rng)
    model_file.save(
        arguments.output,
        tensors=network.state_dict(),
        alphabet=Alphabet("v"),
        domain="speech",
        features=voice.FEATURES,
        network_settings=NETWORK,
        size=SIZE,
        card={"name": "voice", "description": "where somebody speaks (asr/voice.py)"},
    )


def utterances(manifest: Path, rng: np.random.Generator) -> list[np.ndarray]:
    samples = [sample for sample in read_manifest(manifest) if sample.audio]
    picks = rng.permutation(len(samples))[:EACH]
    return [read_audio(path) for i in picks if (path := samples[i].audio)]


def compose(
    speech: list[np.ndarray], other: list[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A wave (samples,) of one to six parts, and whether each of its samples is of speech."""
    parts, labels = [], []
    kinds = rng.choice(3, size=rng.integers(1, 7), p=(0.5, 0.35, 0.15))
    for kind in kinds:
        if kind == 0:
            part = levelled(speech[rng.integers(len(speech))], rng)
            if rng.random() < 0.4:
                part = part + below(part, sound(other, len(part), rng), rng.uniform(3, 25))
        elif kind == 1:
            part = levelled(sound(other, int(rng.uniform(0.3, 10) * SAMPLE_RATE), rng), rng)
        else:
            part = np.zeros(int(np.exp(rng.uniform(-1, 2)) * SAMPLE_RATE), np.float32)
        parts.append(part)
        labels.append(np.full(len(part), kind == 0))
    wave, label = np.concatenate(parts), np.concatenate(labels)
    if rng.random() < 0.7:
        floor = 10 ** (rng.uniform(-90, -45) / 20)
        wave = wave + np.float32(floor) * white_or_pink(len(wave), rng.random() < 0.5, rng)
    if rng.random() < 0.3:  # a room or a microphone that favours some bands
        wave = np.convolve(wave, rng.normal(size=8) * np.exp(-np.arange(8.0)))[: len(wave)]
    wave = np.clip(wave / max(float(np.abs(wave).max()), 1e-4) * rng.uniform(0.05, 1), -1, 1)
    return wave.astype(np.float32), label


def labelled(wave: np.ndarray, spoken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (frames, filters) of a wave (samples,), and whether each output step is of speech."""
    found = voice.bands(wave, SAMPLE_RATE)
    steps = np.arange(-(-len(found) // voice.STRIDE))
    middles = ((steps + 0.5) * voice.STEP * SAMPLE_RATE).astype(int)
    return found, spoken[np.minimum(middles, len(wave) - 1)]


def levelled(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    peak = max(float(np.abs(wave).max()), 1e-4)
    return (wave / peak * 10 ** (rng.uniform(-20, 0) / 20)).astype(np.float32)


def below(speech: np.ndarray, sound: np.ndarray, ratio: float) -> np.ndarray:
    """The sound, by ratio dB weaker than the speech."""
    power = np.square(speech).mean() / max(float(np.square(sound).mean()), 1e-9)
    return sound * np.float32(np.sqrt(power) * 10 ** (-ratio / 20))


def sound(other: list[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) of one of the others, of steady noise, or of tones."""
    kind = rng.choice(3, p=(0.85, 0.1, 0.05))
    if kind == 0:
        wave = other[rng.integers(len(other))]
        wave = wave[:: -1 if rng.random() < 0.3 else 1]
        return np.take(wave, np.arange(count) + rng.integers(len(wave)), mode="wrap")
    if kind == 1:
        noise = white_or_pink(count, rng.random() < 0.5, rng)
        return noise * (1 + rng.uniform(0, 0.9) * np.sin(np.arange(count) * rng.uniform(0, 20) / SAMPLE_RATE))
    time = np.arange(count) / SAMPLE_RATE
    pitch = rng.uniform(50, 2000) * (1 + rng.uniform(0, 0.5) * np.sin(time * rng.uniform(0, 10)))
    return np.sin(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE) * (np.sin(time * rng.uniform(0, 20)) > -0.5)


def music(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) of chords, a melody and perhaps drums, of tones with harmonics of random strength."""
    beat = 60 / rng.uniform(50, 180)
    scale, root = SCALES[rng.integers(3)], rng.integers(36, 60)
    timbres = [rng.uniform(0, 1, 12) / np.arange(1, 13) ** rng.uniform(0.3, 2) for _ in range(2)]
    decays, vibrato = rng.uniform(0, 6, 2), rng.uniform(0, 0.012)
    out = np.zeros(count + SAMPLE_RATE * 8)
    at = -rng.uniform(0, 4) * beat
    while at * SAMPLE_RATE < count:
        degree = rng.integers(7)
        for third in (0, 2, 4):
            _add(
                out,
                at,
                _tone(_pitch(root, scale, degree + third), 4 * beat, timbres[0], decays[0], 0),
                0.2,
            )
        within = 0.0
        while within < 4:
            length = min(rng.choice([0.25, 0.5, 1, 1, 2]), 4 - within)
            tone = _tone(
                _pitch(root + 12, scale, rng.integers(14)), length * beat, timbres[1], decays[1], vibrato
            )
            _add(out, at + within * beat, tone, rng.uniform(0.2, 0.5) * (rng.random() < 0.9))
            within += length
        at += 4 * beat
    if rng.random() < 0.5:
        for hit in np.arange(0, count / SAMPLE_RATE, beat / 2):
            length = int(0.2 * SAMPLE_RATE)
            burst = rng.standard_normal(length) * np.exp(
                -np.arange(length) / SAMPLE_RATE * rng.uniform(15, 60)
            )
            _add(out, float(hit), burst, rng.uniform(0, 0.3))
    return out[:count].astype(np.float32)


def _pitch(root: int, scale: tuple[int, ...], degree: int) -> float:
    """Hz of a degree of a scale."""
    note = root + scale[degree % len(scale)] + 12 * (degree // len(scale))
    return 440 * 2 ** ((note - 69) / 12)


def _tone(pitch: float, seconds: float, timbre: np.ndarray, decay: float, vibrato: float) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(pitch * (1 + vibrato * np.sin(2 * np.pi * 5.5 * time))) / SAMPLE_RATE
    harmonics = [k for k in range(1, len(timbre) + 1) if k * pitch < SAMPLE_RATE / 2]
    wave = sum((timbre[k - 1] * np.sin(k * phase) for k in harmonics), np.zeros(len(time)))
    return wave * np.exp(-decay * time) * np.minimum(1, np.minimum(time, seconds - time) / 0.02)


def _add(out: np.ndarray, at: float, wave: np.ndarray, gain: float) -> None:
    start = int(at * SAMPLE_RATE)
    wave = wave[max(-start, 0) :]
    start = max(start, 0)
    out[start : start + len(wave)] += gain * wave[: max(len(out) - start, 0)]


Samples = list[tuple[np.ndarray, np.ndarray]]


def train(network: Network, samples: Samples, held: Samples, epochs: int, rng: np.random.Generator) -> None:
    """Cross-entropy of each step, by Adam."""
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    batches = -(-len(samples) // ROW)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    for epoch in range(epochs):
        network.train()
        for picks in np.array_split(rng.permutation(len(samples)), batches):
            optimizer.zero_grad()
            loss, _, _ = losses(network, [samples[i] for i in picks])
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            loss, missed, false = losses(network, held)
        show(f"{epoch + 1}: loss {loss:.4f}, {missed:.2%} of speech missed, {false:.2%} of the rest taken")


def losses(network: Network, samples: Samples) -> tuple[torch.Tensor, float, float]:
    """The mean loss of a step, and how much of speech is missed and of the rest taken for speech."""
    x, lengths = pad([bands for bands, _ in samples])
    scores, lengths = network(x, lengths)
    keep = torch.arange(scores.shape[1]) < lengths[:, None]
    labels = torch.from_numpy(np.concatenate([label for _, label in samples]))
    scores = scores[keep]
    loss = torch.nn.functional.nll_loss(scores, labels.long())
    found = scores.argmax(1) == 1
    return loss, float((~found[labels]).float().mean()), float(found[~labels].float().mean())


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
