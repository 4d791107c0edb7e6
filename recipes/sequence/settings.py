"""The settings of a training. Nothing heavy is imported, as --help shows them."""

from dataclasses import dataclass

from carousel.common.settings.field import MISSING, again, setting
from carousel.common.settings.training import CELLS, AdamW, LanguageNetwork

TASKS = ("classify", "label", "ctc", "forecast")
TIME_AWARE = "time_aware"
OPTIMIZER = AdamW(rate=0.004, schedule="cosine", clip=1.0)


@dataclass(frozen=True)
class Settings:
    task: str = setting(
        MISSING,
        "what a sequence gives: one class, a label for each frame, a string of symbols, or its next frames",
        choices=TASKS,
    )
    train: str = setting(
        MISSING, "a manifest: a JSON object a line, with the path of an .npy file in features"
    )
    valid: str = setting(MISSING, "as train")
    name: str = setting("sequence", "of the run, which writes to runs/NAME")
    hidden: int = again(LanguageNetwork, "hidden", 64)
    layers: int = again(LanguageNetwork, "layers", 1)
    cell: str = setting(
        "lstm", "of the layers; time_aware needs times in the manifests", choices=(*CELLS, TIME_AWARE)
    )
    dropout: float = setting(0.2, "between layers and before the output", least=0, below=1)
    stride: int = setting(1, "of classify and ctc: frames that become one", least=1)
    horizon: int = setting(10, "of a forecast", unit="frames", least=1)
    window: int = setting(
        0,
        "of forecasts and labels: longer sequences are learned in such pieces; 0: whole",
        unit="frames",
        least=0,
    )
    epochs: int = setting(30, "over which the rate falls", least=1)
    batch: int = setting(32, "sequences a step", least=1)
    seed: int = setting(1, "of all that is drawn", least=0)
    optimizer: AdamW = setting(OPTIMIZER, "of the training")
