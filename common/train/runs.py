"""The folder of a run: who writes into it, and what in it a training can go on from."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carousel.common.errors import InputError

BEST, LAST, CONFIG, CURVES = "best.safetensors", "last.safetensors", "config.yaml", "curves.png"
LOCK = ".lock"
OWN = "data"  # folder of the manifests that a training has made of data=PATH


@contextmanager
def claimed(folder: Path, resume: bool, fabric: Any) -> Iterator[None]:
    """Holds the folder of a run, which is made, for this training; one that dies lets go of it.

    fabric: of the processes of the training, of which the first holds the folder for all.
    Raises InputError where another training holds it, and where it holds a run unless `resume` is set.
    """
    from filelock import FileLock, Timeout  # the system's own lock, so no dead process holds one

    lock = FileLock(folder / LOCK)
    problem: str | None = None
    if not fabric.global_rank:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
            refuse_to_overwrite(folder, resume)
        except Timeout:
            problem = f"{folder}: another training runs in this folder; wait, or give another name=…"
        except (InputError, OSError) as error:
            problem = str(error)
    try:
        problem = fabric.broadcast(problem)
        if problem:
            raise InputError(problem)
        yield
    finally:
        if lock.is_locked:
            (folder / LOCK).unlink(missing_ok=True)
            lock.release()


def refuse_to_overwrite(folder: Path, resume: bool = False) -> None:
    """Raises InputError for a folder that holds a run, and with `resume` for one without a checkpoint."""
    found = [name for name in (BEST, LAST) if (folder / name).exists()]
    if resume and LAST not in found:
        raise InputError(f"{folder / LAST}: there is no checkpoint to resume from; {_way_out(folder)}")
    if found and not resume:
        on = "go on with it by resume=true, or " if LAST in found else ""
        raise InputError(f"{folder}: already holds a run ({', '.join(found)}); {on}{_way_out(folder)}")


def _way_out(folder: Path) -> str:
    start = f", which init={folder} lets begin with its model" if (folder / BEST).exists() else ""
    return f"start a new run in another folder by name=… or hydra.run.dir=…{start}, or remove this one"


def save_config(config: Mapping[str, Any], folder: Path) -> None:
    """Writes the resolved configuration into the folder of the run."""
    from omegaconf import OmegaConf

    OmegaConf.save(OmegaConf.create(dict(config)), folder / CONFIG)


def best_rate(folder: Path) -> float:
    """The lowest valid CER or perplexity of a run; inf where its checkpoint tells none."""
    from carousel.common.train.checkpoint import load_state

    try:
        return float(load_state(folder / LAST)["state"]["best"])
    except (InputError, KeyError, TypeError, ValueError):
        return math.inf
