"""What trainings of recognisers and of language models have alike: steps, when to stop, what is kept."""

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from carousel.common.errors import InputError
from carousel.common.train.checkpoint import load_checkpoint, part, restore, save_checkpoint
from carousel.common.train.optimizers import learning_rate, scaler, step
from carousel.common.train.runs import BEST, LAST

log = logging.getLogger(__name__)


class Training:
    """Data, network, optimizer and how far it is; a training adds `_advance`, `_validate_again` and `_known`.

    state: what is counted so far, as JSON. best_epoch or best_step is 0 before the first validation.
    """

    unit: str  # what the trainer sets the number of: "epoch" or "step"
    measure: str  # what should fall
    pace: str  # what patience counts
    network: nn.Module
    module: Any  # the network as the processes share it
    optimizer: Any

    def __init__(self, config: dict[str, Any], folder: Path, fabric: Any, **state: Any):
        self.config, self.folder, self.fabric = config, folder, fabric
        self.trainer, self.optimizing = config["trainer"], config["optimizer"]
        self.seed = int(config["seed"])
        self.best_unit = f"best_{self.unit}"
        self.average: dict[str, Tensor] = {}  # weights, which are then what is validated and kept
        # seconds: spent training, over all sessions
        self.state = {"step": 0, "seconds": 0.0, "best": math.inf, self.best_unit: 0, "rows": [], **state}
        torch.manual_seed(self.seed)
        self.saved = load_checkpoint(folder / LAST) if config["resume"] else None

    def _advance(self) -> None:
        """Trains up to the next validation, validates and calls `_keep`."""
        raise NotImplementedError

    def _validate_again(self) -> None:
        """Makes the best model of the weights at hand, as the one of the checkpoint is lost."""
        raise NotImplementedError

    def _known(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What else a checkpoint holds: JSON and tensors."""
        raise NotImplementedError

    def run(self) -> None:
        # a training that was broken off before its first validation goes on to that at least
        finished = self.state[self.best_unit] > 0 and self._finished()
        while not finished:
            self._advance()
            finished = self._finished()

    def _finished(self) -> bool:
        reason = self._reason_to_stop()
        if reason:
            log.info("stopped: %s", reason)
        return reason is not None

    def _reason_to_stop(self) -> str | None:
        """The same in all processes, whose clocks differ."""
        state, trainer = self.state, self.trainer
        now, most, patience = state[self.unit], trainer[f"{self.unit}s"], trainer["patience"]
        since = (now - state[self.best_unit]) / self._validation_steps()
        reason: str | None = None
        if now >= most:
            reason = f"all {most} {self.unit}s are done"
        elif trainer["minutes"] is not None and state["seconds"] >= 60 * trainer["minutes"]:
            reason = f"the {trainer['minutes']} minutes are up"
        elif patience is not None and state[self.best_unit] and since >= patience:
            reason = f"the {self.measure} has not fallen for {patience} {self.pace}"
        agreed: str | None = self.fabric.broadcast(reason)
        return agreed

    def _validation_steps(self) -> int:
        """Units in what patience counts."""
        return 1

    def _schedule(self, units: float) -> float:
        """How far the schedule of the rate is, 0 … 1, after so many epochs or steps."""
        done = units / self.trainer[f"{self.unit}s"]
        if self._by_minutes():
            done = max(done, self.state["seconds"] / (60 * self.trainer["minutes"]))
        return min(done, 1.0)

    def _by_minutes(self) -> bool:
        return self.trainer.get("schedule_by") == "minutes" and self.trainer["minutes"] is not None

    def _schedule_is_over(self) -> bool:
        """Whether the minutes are up that the rate has fallen over: the same in all processes."""
        if not self._by_minutes():
            return False
        over: bool = self.fabric.broadcast(self.state["seconds"] >= 60 * self.trainer["minutes"])
        return over

    def _begin_step(self, progress: float, *salt: int) -> None:
        """What is drawn in a step depends on its number alone, so that a resumed training sees the same."""
        torch.manual_seed(hash((self.seed, self.state["step"], *salt)) & 0x7FFFFFFF)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.optimizing, progress)

    def _take_step(self, losses: Tensor, names: Callable[[], str] = str) -> bool:
        """Returns whether the gradient was finite. names: of the samples of a step that is left out."""
        if step(self.fabric, self.module, self.optimizer, self.optimizing["clip"]):
            return True
        if not (scaler(self.fabric) and losses.isfinite().all()):  # else its scale was too large, no more
            log.warning(
                "step %d: the loss or its gradient is not finite, step left out%s",
                self.state["step"],
                names(),
            )
        return False

    def _keep(self, row: dict[str, Any], value: float | None, save_model: Callable[[], None]) -> None:
        """Writes down a row of metrics.csv and, if its value is the lowest yet, the model."""
        state = self.state
        state["rows"].append(row)
        better = value is not None and (value < state["best"] or not state[self.best_unit])
        if better:
            state["best"], state[self.best_unit] = value, state[self.unit]
        self._save_checkpoint()  # first: `_resume` makes the best model anew from it, but not the other way
        if better:
            save_model()

    def _save_checkpoint(self) -> None:
        if self.fabric.global_rank:
            return
        known, carried = self._known()
        known |= {"state": self.state, "precision": self.fabric.strategy.precision.state_dict()}
        weights = self.network.state_dict()
        save_checkpoint(self.folder / LAST, weights, self.average, self.optimizer, known, carried)

    def _resume(self, tensors: dict[str, Tensor], saved: dict[str, Any], read: Callable[[Path], Any]) -> None:
        """Goes on from a checkpoint. read: of common.model.file or common.language.lstm."""
        restore(self.folder / LAST, self.network, self.optimizer, tensors)
        for name, tensor in part(tensors, "average").items():
            if name in self.average:
                self.average[name].copy_(tensor)
        self.fabric.strategy.precision.load_state_dict(saved.get("precision", {}))
        self.state = saved["state"]
        log.info("resumed at %s", self._where())
        best = self.state[self.best_unit]
        lost = not self.fabric.global_rank and best > 0 and best_is_lost(self.folder, read, self.unit, best)
        if self.fabric.broadcast(lost):
            self._validate_again()

    def _where(self) -> str:
        return f"step {self.state['step']}"

    def _training_card(self) -> dict[str, Any]:
        """What a model file says of its making."""
        minutes = round(self.state["seconds"] / 60, 3)
        return {"seed": self.seed, self.unit: self.state[self.unit], "minutes": minutes}


def best_is_lost(folder: Path, read: Callable[[Path], Any], key: str, number: int) -> bool:
    """Whether the best model is not there, cannot be read, or is not the one that the checkpoint tells of.

    key, number: what its card says under "training": the epoch or step of the best validation. Says what is
    wrong in the log.
    """
    path = folder / BEST
    try:
        if not path.is_file():
            raise InputError(f"{path}: is not there")
        training = read(path).card.get("training")
        made = training.get(key) if isinstance(training, Mapping) else None
        if made not in (None, number):
            raise InputError(f"{path}: was made in {key} {made}, not {number}")
    except InputError as error:
        log.warning("%s: the model of the checkpoint is validated, and kept as the best from here on", error)
        return True
    return False
