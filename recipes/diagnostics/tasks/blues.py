"""The blues: a net learns the twelve bars and plays on, and does not lose its way.

Eck & Schmidhuber 2002, Learning the Long-Term Structure of the Blues. Eight steps a bar, chords as the notes
of an octave, over them a melody of one-bar phrases in the minor pentatonic scale. The net hears a step and
says the next; then it is given the first bar and hears itself for `test` choruses. `bars right` is the share
of bars with the right chord from first to last step, `in scale` that of the melody's notes. Two choruses of
each net are written as MIDI (pip install 'carousel-ctc[recipes]'). `length` is the steps of a chorus.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from carousel.common.errors import InputError
from carousel.recipes.diagnostics.network import Network, generate
from carousel.recipes.diagnostics.picture import draw_curve
from carousel.recipes.diagnostics.settings import OPTIMIZER, Settings
from carousel.recipes.diagnostics.task import Batch, Run, Task

STEPS = 8  # of a bar: eighth notes
FORM = ("C7", "C7", "C7", "C7", "F7", "F7", "C7", "C7", "G7", "F7", "C7", "C7")
NOTES = 12
CHORDS = {"C7": (0, 4, 7, 10), "F7": (5, 9, 0, 3), "G7": (7, 11, 2, 5)}  # semitones above C
SCALE = (0, 3, 5, 7, 10, 12)  # semitones above the melody's C
REST = 13  # of the melody, which has C to C
MELODY = 14
# Phrases over each chord, a degree of the scale a step; - is a rest. What is repeated is held.
PHRASES = {
    "C7": ("0012344-", "4432100-", "00-33-45", "5543321-"),
    "F7": ("2234521-", "5542-22-", "11-22-55"),
    "G7": ("3344233-", "5-43-3--", "33-22-11"),
}
TEMPO = 132  # quarter notes a minute
OCTAVES = {"chords": 48, "melody": 72}  # MIDI's number of the C of each


class Music(NamedTuple):
    """Steps of music."""

    chords: Tensor  # (batch, steps, NOTES) bool
    melody: Tensor  # (batch, steps) from 0 to MELODY - 1


def chorus(size: int, rng: torch.Generator) -> Music:
    """The twelve bars with phrases drawn at random."""
    chords = torch.zeros(len(FORM) * STEPS, NOTES, dtype=torch.bool)
    melody = torch.empty(size, len(FORM) * STEPS, dtype=torch.long)
    for bar, name in enumerate(FORM):
        steps = slice(bar * STEPS, (bar + 1) * STEPS)
        chords[steps, list(CHORDS[name])] = True
        known = torch.tensor([[pitch(sign) for sign in phrase] for phrase in PHRASES[name]])
        melody[:, steps] = known[torch.randint(len(known), (size,), generator=rng)]
    return Music(chords.expand(size, -1, -1), melody)


def pitch(sign: str) -> int:
    return REST if sign == "-" else SCALE[int(sign)]


def encode(music: Music) -> Tensor:
    """(batch, steps, NOTES + MELODY) of zeros and ones."""
    return torch.cat((music.chords.float(), nn.functional.one_hot(music.melody, MELODY).float()), dim=-1)


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    """A chorus; the next one begins with its first step, of which only the chord is known."""
    music = encode(chorus(size, rng))
    following = music.roll(-1, dims=1)
    steps = music.shape[1]
    return Batch(music, following, torch.ones(size, steps, dtype=torch.bool), torch.full((size,), steps))


def loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the chords' notes, independent of each other, and of the melody's; nats a step."""
    chords = nn.functional.binary_cross_entropy_with_logits(
        outputs[..., :NOTES], batch.targets[..., :NOTES], reduction="none"
    ).sum(-1)
    notes = batch.targets[..., NOTES:].argmax(-1)
    melody = nn.functional.cross_entropy(outputs[..., NOTES:].transpose(1, 2), notes, reduction="none")
    melody = melody.clone()
    melody[:, -1] = 0  # the next chorus is another draw
    return (chords + melody).mean()


def play(network: Network, choruses: int, rng: torch.Generator) -> Music:
    """What a net plays after the first bar, which is given and stands at the beginning."""
    first = chorus(1, rng)
    heard = encode(Music(first.chords[:, :STEPS], first.melody[:, :STEPS]))
    outputs, state = network(heard, torch.tensor([STEPS]))
    played = [heard]

    def chosen(output: Tensor) -> Tensor:
        """The notes of the chord that are likelier than not, and a note of the melody by its probability."""
        note = torch.multinomial(output[:, NOTES:].softmax(-1), 1, generator=rng)[:, 0]
        played.append(encode(Music(output[:, None, :NOTES] > 0, note[:, None])))
        return played[-1][:, 0]

    left = choruses * len(FORM) * STEPS - STEPS
    generate(network, chosen(outputs[:, -1]), left - 1, chosen, state)
    music = torch.cat(played, dim=1)
    return Music(music[..., :NOTES] > 0, music[..., NOTES:].argmax(-1))


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    music = play(network, settings.test, rng)
    wanted = chorus(1, rng).chords.repeat(1, settings.test, 1)
    right = (music.chords == wanted).all(-1).view(-1, STEPS).all(-1)
    notes = music.melody[music.melody != REST]
    in_scale = torch.isin(notes, torch.tensor(SCALE)).float().mean() if len(notes) else torch.tensor(0.0)
    return {"bars right": float(right.float().mean()), "in scale": float(in_scale)}


def write(run: Run, folder: Path) -> None:
    """Two choruses as MIDI. Raises InputError without mido."""
    with torch.inference_mode():
        music = play(run.network, 2, torch.Generator().manual_seed(run.seed))
    name = "-".join(["blues", *([run.variant] if run.variant else []), str(run.seed)])
    write_midi(music, folder / f"{name}.mid")


def write_midi(music: Music, path: Path) -> None:
    """The first row of music as MIDI: a track each of chords and melody. Raises InputError without mido."""
    try:
        import mido
    except ImportError:
        raise InputError("MIDI needs mido: pip install 'carousel-ctc[recipes]'") from None
    file = mido.MidiFile()
    ticks = file.ticks_per_beat // 2
    melody = nn.functional.one_hot(music.melody[0], MELODY).bool()[:, :REST]
    for name, notes in (("chords", music.chords[0]), ("melody", melody)):
        track = file.add_track(name)
        track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(TEMPO)))
        since = 0
        before = torch.zeros_like(notes[0])
        for step, now in enumerate([*notes, torch.zeros_like(before)]):
            struck = name == "chords" and step % STEPS == 0  # a chord is struck anew with each bar
            ends = before & (~now | struck)
            begins = now & (~before | struck)
            for message, which in (("note_off", ends), ("note_on", begins)):
                for note in which.nonzero()[:, 0].tolist():
                    time = (step - since) * ticks
                    track.append(mido.Message(message, note=OCTAVES[name] + note, velocity=64, time=time))
                    since = step
            before = now
    file.save(path)


TASK = Task(
    settings=Settings(
        hidden=64,
        chrono=100,
        length=len(FORM) * STEPS,
        batch=16,
        steps=3000,
        check_every=100,
        test=20,
        optimizer=replace(OPTIMIZER, rate=0.01, schedule="cosine"),
    ),
    variants={name: {"cell": name} for name in ("lstm", "rnn")},
    sizes=lambda settings: (NOTES + MELODY, NOTES + MELODY),
    batch=batch,
    loss=loss,
    measure=measure,
    solved=lambda measured, settings: measured["bars right"] == 1 and measured["in scale"] > 0.95,
    draw=draw_curve("bars right", "bars with the right chord", log=False),
    stream=True,
    write=write,
)
