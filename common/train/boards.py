"""Where else the figures of a training go: TensorBoard, MLflow, Weights & Biases. A board takes rows."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from carousel.common.errors import InputError

Row = Mapping[str, float]
Board = Callable[[Row], None]  # takes the figures of an epoch or validation, and shows them at once
TIMES = ("epoch", "step")  # what tells when a row was


def open_boards(
    trainer: Mapping[str, Any], config: Mapping[str, Any], folder: Path, rows: Sequence[Row]
) -> Board:
    """One board for all that `trainer.loggers` and `trainer.tensorboard` ask for.

    config: the settings of the run, which a board may keep; rows: those of a run that goes on.
    Raises InputError where one is not installed.
    """
    names = [*["tensorboard"] * trainer["tensorboard"], *(trainer["loggers"] or ())]
    boards = [_open(name, config, folder, rows) for name in dict.fromkeys(names)]

    def add(row: Row) -> None:
        for board in boards:
            board(row)

    return add


def _open(name: str, config: Mapping[str, Any], folder: Path, rows: Sequence[Row]) -> Board:
    try:
        return OPENERS[name](config, folder, rows)
    except ImportError as error:
        raise InputError(
            f"trainer.loggers={name} needs the extra `{name}`: pip install 'carousel-ctc[{name}]' ({error})"
        ) from None


def _tensorboard(config: Mapping[str, Any], folder: Path, rows: Sequence[Row]) -> Board:
    """Events in the folder `tensorboard`: one file for all of a run, so `rows` are written anew."""
    from torch.utils.tensorboard import SummaryWriter

    for earlier in (folder / "tensorboard").glob("events.out.tfevents.*"):
        earlier.unlink()
    writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def add(row: Row) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, _time(row))
        writer.flush()

    for row in rows:
        add(row)
    return add


def _mlflow(config: Mapping[str, Any], folder: Path, rows: Sequence[Row]) -> Board:
    """A run of the experiment `carousel`, at MLFLOW_TRACKING_URI or else in mlflow.db right here."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"))
    known = client.get_experiment_by_name(PROJECT)
    experiment = known.experiment_id if known else client.create_experiment(PROJECT)
    run = client.create_run(experiment, run_name=str(config["name"])).info.run_id
    for key, value in config.items():
        client.log_param(run, key, str(value)[:MOST])

    def add(row: Row) -> None:
        for name, value in row.items():
            client.log_metric(run, name, float(value), step=_time(row))

    for row in rows:
        add(row)
    return add


def _wandb(config: Mapping[str, Any], folder: Path, rows: Sequence[Row]) -> Board:
    """A run of the project `carousel` (or WANDB_PROJECT), which goes on where the training does."""
    import wandb

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    run = wandb.init(project=project, name=str(config["name"]), dir=str(folder), config=dict(config))

    def add(row: Row) -> None:
        run.log(dict(row), step=_time(row))

    for row in rows:
        add(row)
    return add


def _time(row: Row) -> int:
    return int(next(row[key] for key in TIMES if key in row))


PROJECT = "carousel"
MOST = 500  # characters of a parameter that MLflow takes
OPENERS: dict[str, Callable[[Mapping[str, Any], Path, Sequence[Row]], Board]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
