"""Settings of a training: network, optimizer, trainer, and what every configuration has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carousel.common.settings import augment, features
from carousel.common.settings.field import MISSING, again, described, setting
from carousel.common.settings.text import Text

# Those of common.lstm.cells that need no more than features, named here so that settings need no torch.
CELLS = (
    *("lstm", "peephole", "gru", "lstm1997", "lstm1997_linear", "layer_norm"),
    *("nig", "nfg", "nog", "niaf", "noaf", "cifg", "np", "fgr"),
)
# Not 16-true: without weights in float32 beside, most steps of float16 are lost.
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")


@dataclass(frozen=True)
class _Layers:
    hidden: int = setting(256, "cells in each direction", least=1)
    layers: int = setting(3, "LSTM layers", least=1)
    cell: str = setting("lstm", "lstm1997 … and of Greff 2015 nig … fgr", choices=CELLS)
    dropout: float = setting(0.3, "between layers and before the output", least=0, below=1)


@dataclass(frozen=True)
class _Recurrent(_Layers):
    front: str = setting("", "what comes before the recurrent layers")
    projection: int = setting(
        0, "size of each direction's output, if above 0 (Sak 2014); not with gru", least=0
    )
    bidirectional: bool = setting(True, "read from both ends")
    recurrent_dropout: float = setting(
        0.0, "of h in the recurrence, one mask for all frames (Gal & Ghahramani 2016)", least=0, below=1
    )
    zoneout: tuple[float, float] = setting(
        (0.0, 0.0),
        "of cell states and of outputs: how many keep their old value (Krueger 2017)",
        least=0,
        below=1,
    )


@dataclass(frozen=True)
class Stack(_Recurrent):
    """Neighbouring frames stacked, then the recurrent layers: the fewest operations a frame."""

    dropout: float = again(_Layers, "dropout", 0.4)
    stride: int = setting(3, "frames that become one", least=1)
    front: str = again(_Recurrent, "front", "stack")


@dataclass(frozen=True)
class _Fronted(_Recurrent):
    front_dropout: float = setting(0.0, "whole channels, after each layer of the front", least=0, below=1)


@dataclass(frozen=True)
class Convolution1d:
    channels: int = setting(MISSING, "outputs", least=1)
    kernel: int = setting(MISSING, "frames", least=1)
    stride: int = setting(MISSING, "frames", least=1)


@dataclass(frozen=True)
class Convolution2d:
    channels: int = setting(MISSING, "outputs", least=1)
    kernel: tuple[int, int] = setting(MISSING, "[along the line, across it]", least=1)
    stride: tuple[int, int] = setting(MISSING, "[along the line, across it]", least=1)


@dataclass(frozen=True)
class Level:
    hidden: int = setting(MISSING, "cells from each corner", least=1)
    block: tuple[int, int] = setting(MISSING, "places that become one: [along the line, across it]", least=1)
    units: int = setting(MISSING, "tanh units over blocks of the cells' outputs", least=1)


@dataclass(frozen=True)
class Conv1d(_Fronted):
    """Convolutions along the pen's path, then the recurrent layers."""

    convolutions: tuple[Convolution1d, ...] = setting(
        (Convolution1d(128, 5, 2), Convolution1d(192, 5, 2)), "layers, each with channels, kernel and stride"
    )
    front: str = again(_Recurrent, "front", "conv1d")


@dataclass(frozen=True)
class Conv2d(_Fronted):
    """Convolutions over columns × rows of a line image, or frames × filters of a spectrogram."""

    convolutions: tuple[Convolution2d, ...] = setting(
        (
            Convolution2d(32, (3, 3), (1, 2)),
            Convolution2d(64, (3, 3), (2, 2)),
            Convolution2d(96, (3, 3), (2, 2)),
            Convolution2d(128, (3, 3), (1, 2)),
        ),
        "layers, each with channels, kernel and stride; kernel and stride are [along the line, across it]",
    )
    front: str = again(_Recurrent, "front", "conv2d")


@dataclass(frozen=True)
class Mdlstm(_Fronted):
    """Multidimensional LSTM layers over columns × rows of a line image, from all four corners.

    Each anti-diagonal of the image is a step, so an image takes height + width steps a level.
    """

    block: tuple[int, int] = setting(
        (2, 4), "pixels that become one place: [along the line, across it]", least=1
    )
    levels: tuple[Level, ...] = setting(
        (Level(8, (2, 2), 32), Level(24, (1, 2), 128)), "layers, each with hidden, block and units"
    )
    front: str = again(_Recurrent, "front", "mdlstm")


@dataclass(frozen=True)
class LanguageNetwork(_Layers):
    embedding: int = setting(64, "numbers a token", least=1)
    hidden: int = again(_Layers, "hidden", 384)
    layers: int = again(_Layers, "layers", 1)
    dropout: float = setting(0.2, "of the embedding, between layers and before the output", least=0, below=1)


@dataclass(frozen=True)
class _Optimizer:
    kind: str = setting("", "of the optimizer")
    rate: float = setting(0.002, "at its highest", above=0)
    weight_decay: float = setting(0.01, "of matrices and kernels", least=0)
    schedule: str = setting(
        "cosine",
        "from the highest rate to `final` × it",
        choices=("constant", "linear", "cosine", "exponential"),
    )
    warmup: float = setting(0.04, "share of the training in which the rate rises from 0", least=0, most=1)
    final: float = setting(0.02, "of the highest rate, at the end", least=0)
    clip: float = setting(5.0, "norm of the gradient; 0: not clipped", least=0)
    weight_noise: float = setting(
        0.0,
        "standard deviation of Gaussian noise on the weights at each step (Graves 2013: 0.075)",
        least=0,
    )


@dataclass(frozen=True)
class AdamW(_Optimizer):
    """AdamW (Loshchilov & Hutter 2019)."""

    betas: tuple[float, float] = setting((0.9, 0.98), "decay of the moments", least=0, below=1)
    kind: str = again(_Optimizer, "kind", "adamw")


@dataclass(frozen=True)
class Sgd(_Optimizer):
    """Stochastic gradient descent with momentum, as in Graves' papers; the loss is the mean over symbols."""

    rate: float = again(_Optimizer, "rate", 0.003)
    momentum: float = setting(0.9, "of earlier steps", least=0, below=1)
    weight_decay: float = again(_Optimizer, "weight_decay", 0.0)
    schedule: str = again(_Optimizer, "schedule", "constant")
    warmup: float = again(_Optimizer, "warmup", 0.0)
    kind: str = again(_Optimizer, "kind", "sgd")


@dataclass(frozen=True)
class _Trainer:
    minutes: float | None = setting(
        None,
        "stop after the validation in which this much time is up; see schedule_by",
        above=0,
    )
    accelerator: str = setting("auto", "the device", choices=("auto", "cpu", "cuda", "gpu", "mps"))
    precision: str = setting(
        "auto",
        "of the matrix products; auto: bf16-mixed where the machine has bf16 products, else 32-true",
        choices=PRECISIONS,
    )
    threads: int | None = setting(None, "of a CPU; null: all", least=1)
    half: bool = setting(True, "the model file holds float16")


@dataclass(frozen=True)
class Trainer(_Trainer):
    epochs: int = setting(60, "over which the rate falls", least=1)
    schedule_by: str = setting(
        "epochs",
        "what the rate falls over; minutes: over the minutes, or over the epochs where they are done first",
        choices=("epochs", "minutes"),
    )
    patience: int | None = setting(
        20, "stop when the valid CER has not fallen for so many epochs; null: never", least=1
    )
    max_frames: int = setting(20000, "of features in one batch, padding included", least=1)
    max_items: int = setting(64, "samples in one batch", least=1)
    ema: float = setting(
        0.998,
        "decay of the averaged weights, which are what is validated and kept; 0: no average",
        least=0,
        below=1,
    )
    validate_every: int = setting(1, "between validations", unit="epochs", least=1)
    checkpoint_minutes: float = setting(
        10, "last.safetensors is written at least this often, and after each epoch", least=0
    )
    devices: int = setting(1, "or start with torchrun", least=1)
    workers: int = setting(0, "processes that read and vary samples; 0: in the training process", least=0)
    cache_megabytes: float = setting(4000, "of decoded recordings and pictures kept in memory", least=0)
    watch: int | None = setting(
        None,
        "a sample of the valid set, by its number from 1, of which each validation adds a picture of the "
        "network's output to spikes.gif; null: none",
        least=1,
    )
    loggers: tuple[str, ...] | None = setting(
        None,
        "what shows the figures too: a list of tensorboard, mlflow, wandb, each an extra of that name",
        choices=("tensorboard", "mlflow", "wandb"),
    )
    tensorboard: bool = setting(
        False, "as loggers=[tensorboard]; needs the extra: pip install 'carousel-ctc[tensorboard]'"
    )


@dataclass(frozen=True)
class LanguageTrainer(_Trainer):
    steps: int = setting(4000, "of the optimizer, over which the rate falls", least=1)
    validate_every: int = setting(200, "last.safetensors is written as often", unit="steps", least=1)
    patience: int | None = setting(
        8, "stop when the valid perplexity has not fallen for so many validations; null: never", least=1
    )
    rows: int = setting(64, "places of the text that are read side by side", least=1)
    window: int = setting(
        100,
        "tokens that the gradient goes back over; the state goes on from window to window",
        least=1,
    )
    reset: float = setting(
        0.05, "share of the windows that begin without a past, as sessions do", least=0, most=1
    )


@dataclass(frozen=True)
class Data:
    train: str | tuple[str, ...] = setting(
        MISSING, "a manifest, or a list of them; paths are relative to the working directory"
    )
    valid: str | tuple[str, ...] = setting(MISSING, "as train")
    test: str | tuple[str, ...] | None = setting(
        None, "training never reads it: it says what `evaluate` is to be given"
    )
    keep: str | tuple[str, ...] | None = setting(
        None, "manifests of what the model of init= was trained on, so that it keeps what it can do"
    )
    keep_share: float = setting(0.25, "of the samples of an epoch that are drawn from keep", least=0, below=1)


@dataclass(frozen=True)
class Texts:
    train: str | tuple[str, ...] = setting(
        MISSING, "texts of a sentence or line a line (also .gz, .xz), or manifests; a list is read in order"
    )
    valid: str | tuple[str, ...] = setting(MISSING, "as train")


@dataclass(frozen=True)
class _Run:
    name: str = setting(MISSING, "of the recipe: `train` fills in its folder's name")
    domain: str = setting(MISSING, "speech, image or ink; text for language models")
    data: Any = setting(None, "what to train on")
    seed: int = setting(1, "of all that is drawn", least=0)
    init: str | None = setting(
        None, "a model (file, run folder or name of one that ships) to start from: its network and weights"
    )
    resume: bool = setting(
        False, "go on from last.safetensors of the run folder, with the settings in its config.yaml"
    )
    card: Mapping = setting(dict, "name, description, licence … stored in the model file")


@dataclass(frozen=True)
class Recogniser(_Run):
    """What every training of a recogniser has, beside its groups."""

    data: Data = setting(Data(), "manifests")
    text: Text = setting(Text(), "how the texts are written before they are learned; stored in the model")
    alphabet: str | tuple[str, ...] | None = setting(
        None,
        "symbols as one string, or a list whose entries may be several characters (phones, pieces of words), "
        "by which the texts are split; null or union: every character of the training texts, and with "
        "init= the model's; new (or texts): those of the texts alone; fixed: those of the model alone",
    )
    decoder: Mapping = setting(dict, "defaults of decoding, stored in the model file")
    vocabulary: str = setting(
        "none",
        "of texts that repeat: auto: the model keeps the list of them, or of their words, and writes nothing "
        "else, where that has fewer errors on valid",
        choices=("none", "auto"),
    )


@dataclass(frozen=True)
class Language(_Run):
    """What every training of a language model has, beside its optimizer."""

    domain: str = again(_Run, "domain", "text")
    data: Texts = setting(Texts(), "texts")
    fit: str | None = setting(
        None,
        "a recogniser (file, run folder or name): texts are taken as it would write them, in its case and "
        "characters",
    )
    unit: str = setting("characters", "what a token is", choices=("characters", "words"))
    running: bool = setting(
        False, "lines begin and end anywhere in a sentence, as those of a page do; with unit=characters"
    )
    vocabulary: int | None = setting(None, "keep the most frequent tokens; null: all", least=1)
    network: LanguageNetwork = setting(LanguageNetwork(), "embedding and LSTM layers")
    trainer: LanguageTrainer = setting(LanguageTrainer(), "when to stop, and on what device")


# Groups of a recogniser's configuration: NAME in GROUP=NAME, and its settings.
GROUPS: dict[str, dict[str, type]] = {
    "features": {
        "logmel": features.LogMel,
        "mfcc": features.Mfcc,
        "image": features.LineImage,
        "ink": features.PenStrokes,
    },
    "augment": {
        "none": augment.Nothing,
        "speech": augment.Speech,
        "image": augment.Image,
        "ink": augment.Ink,
    },
    "network": {"stack": Stack, "conv1d": Conv1d, "conv2d": Conv2d, "mdlstm": Mdlstm},
    "optimizer": {"adamw": AdamW, "sgd": Sgd},
    "trainer": {"default": Trainer},
}


def described_settings() -> str:
    """All settings with defaults, units and a line on each, for people."""
    lines = ["settings of a recogniser:", *described(Recogniser, "  ")]
    for group, choices in GROUPS.items():
        for name, schema in choices.items():
            lines += ["", f"{group}={name}:", *described(schema, "  ")]
    return "\n".join(
        [*lines, "", "settings of a language model, beside an optimizer:", *described(Language, "  ")]
    )
