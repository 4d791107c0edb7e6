"""The settings of a training by the amount of data: one table, and why.

From nothing, three rows are those of a recipe, whose README has what they come to: an4 (0.7 hours), voa (41
hours), htr_lines (15,300 lines); unipen_words is the last row of ink. The rows between them are drawn from
these, and have not been measured by themselves (docs/training.md says what has been).

Network  The less data, the fewer weights and the more dropout, as little data is soon learnt by heart. One
         that comes along from a model is as large as it is: its weights know what a letter is already.
Batch    Little data needs small batches, as it is the number of steps that counts.
Epochs   The less data, the more: what is best on valid is kept, so too many cost time alone. From a model a
         third to a fifth, as it only has to get used to the data.
Rate     From a model about half of that from nothing: it must not undo what the model knows.
Minutes  The rate falls to its end within them, so fewer still end well. trainer.minutes=… says others.
Voices   Few voices are varied more (speed and vocal tract as recipe fsdd, where four train for a fifth); one
         voice less, as no other is to be read.
"""

from typing import Any, NamedTuple


class Amount(NamedTuple):
    """One row: what data up to an amount is trained with."""

    most: float  # hours of speech; samples of handwriting
    epochs: tuple[int, int]  # from a model that ships, from nothing
    minutes: float
    hidden: int  # with layers and dropout: from nothing
    layers: int
    dropout: float
    rate: tuple[float, float]  # from a model, from nothing
    max_frames: int
    ema: float


INF = float("inf")
TABLES: dict[str, tuple[Amount, ...]] = {
    "speech": (
        Amount(0.2, (40, 200), 30, 128, 2, 0.5, (0.0008, 0.0015), 3000, 0.99),
        Amount(1.0, (30, 150), 30, 256, 3, 0.4, (0.0008, 0.0012), 6000, 0.99),
        Amount(5.0, (12, 60), 60, 256, 3, 0.4, (0.0008, 0.0012), 8000, 0.995),
        Amount(20.0, (8, 30), 240, 320, 3, 0.3, (0.0008, 0.0015), 12000, 0.998),
        Amount(INF, (5, 12), 1440, 320, 4, 0.3, (0.0008, 0.0015), 16000, 0.998),
    ),
    "image": (
        Amount(150, (60, 300), 20, 96, 2, 0.5, (0.0008, 0.0015), 5000, 0.99),
        Amount(800, (30, 120), 30, 128, 2, 0.5, (0.0008, 0.0015), 6000, 0.99),
        Amount(3000, (16, 60), 60, 192, 3, 0.4, (0.0008, 0.0015), 9000, 0.995),
        Amount(20000, (6, 16), 240, 224, 3, 0.3, (0.0008, 0.0015), 11000, 0.998),
        Amount(INF, (5, 12), 1440, 256, 3, 0.3, (0.0008, 0.0015), 16000, 0.998),
    ),
    "ink": (
        Amount(300, (40, 300), 20, 96, 2, 0.5, (0.0008, 0.002), 5000, 0.99),
        Amount(3000, (20, 80), 30, 128, 3, 0.4, (0.0008, 0.002), 8000, 0.995),
        Amount(20000, (8, 24), 120, 192, 3, 0.3, (0.0008, 0.002), 12000, 0.998),
        Amount(INF, (4, 6), 1440, 256, 3, 0.2, (0.0008, 0.002), 12000, 0.998),
    ),
}
# above it, no start from a model that ships, unless that reads the data already (common.train.own.base_model)
ENOUGH = {"speech": 50.0, "image": 50_000.0, "ink": 100_000.0}
GROUPS = {  # domain -> group of settings -> choice
    "speech": {"features": "logmel", "augment": "speech", "network": "conv2d"},
    "image": {"features": "image", "augment": "image", "network": "conv2d"},
    "ink": {"features": "ink", "augment": "ink", "network": "conv1d"},
}
# [along the line, across it]: as recipes an4 (one output frame is 30 ms, as short words need) and htr_lines
CONVOLUTIONS: dict[str, list[dict[str, Any]]] = {
    "speech": [
        {"channels": 32, "kernel": [5, 5], "stride": [3, 2]},
        {"channels": 32, "kernel": [3, 5], "stride": [1, 2]},
        {"channels": 48, "kernel": [3, 3], "stride": [1, 2]},
    ],
    "image": [
        {"channels": 24, "kernel": [5, 5], "stride": [2, 2]},
        {"channels": 64, "kernel": [3, 3], "stride": [2, 2]},
        {"channels": 96, "kernel": [3, 3], "stride": [1, 2]},
        {"channels": 128, "kernel": [3, 3], "stride": [1, 2]},
    ],
}
FEW_VOICES = 10
VARIED = {  # of few voices, as recipe fsdd
    "equalizer": {"probability": 0.8, "range": [-9, 9]},
    "speed": {"probability": 0.9, "range": [0.8, 1.3]},
    "vtlp": {"probability": 1.0, "range": [0.85, 1.2]},
}
ALONE = {"vtlp": {"probability": 0.3, "range": [0.95, 1.05]}}  # of one voice
NO_END = 10_000  # epochs, where the minutes tell the end


def row(domain: str, amount: float) -> Amount:
    return next(found for found in TABLES[domain] if amount <= found.most)


def settings(domain: str, amount: float, voices: int, tuned: bool, timed: bool) -> dict[str, Any]:
    """What differs from the defaults, as a recipe has it.

    amount: hours of speech or samples to train on; voices: speakers, 0 where nobody knows; tuned: whether it
    starts from a model, whose network and features come along; timed: whether the user says the minutes.
    """
    found = row(domain, amount)
    groups = [{f"override /{group}": name} for group, name in GROUPS[domain].items()]
    augment = VARIED if 1 < voices < FEW_VOICES else ALONE if voices == 1 else {}
    network: dict[str, Any] = {}
    if not tuned:
        network = {"hidden": found.hidden, "layers": found.layers, "dropout": found.dropout}
        if domain in CONVOLUTIONS:
            network |= {"convolutions": CONVOLUTIONS[domain], "front_dropout": 0.1}
    return {
        "defaults": ["base", *groups, "_self_"],
        "domain": domain,
        "network": network,
        "augment": augment if domain == "speech" else {},
        "optimizer": {"rate": found.rate[not tuned]},
        "trainer": {
            "epochs": NO_END if timed else found.epochs[not tuned],
            "minutes": found.minutes,
            "schedule_by": "minutes",
            "patience": None,
            "max_frames": found.max_frames,
            "ema": found.ema,
        },
    }


def told(domain: str, amount: float, tuned: bool) -> str:
    """The row that was taken, in words."""
    found = row(domain, amount)
    unit = "hours" if domain == "speech" else "samples"
    size = "as the model has it" if tuned else f"{found.layers} layers of {found.hidden} cells"
    most = f"up to {found.most:g} {unit}" if found.most < INF else "any amount"
    return (
        f"settings for {most} ({amount:.2f} are here to train on): network {size}, rate "
        f"{found.rate[not tuned]:g}"
    )
