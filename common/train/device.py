"""Device, precision and processes of a training."""

import gc
import logging
import os
from collections.abc import Mapping
from typing import Any

import torch

from carousel.common.errors import InputError
from carousel.common.hardware import has_bf16

log = logging.getLogger(__name__)


def make_fabric(trainer: Mapping[str, Any]) -> Any:
    """Fabric set up for the device, the precision, and the processes that torchrun may have started.

    Raises InputError for a device or a precision that this machine does not have.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    if trainer["threads"]:
        torch.set_num_threads(trainer["threads"])
    precision = trainer["precision"]
    if precision == "auto":
        precision = "bf16-mixed" if has_bf16(trainer["accelerator"]) else "32-true"
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 0))  # torchrun sets it
    devices, nodes = (local, int(os.environ["WORLD_SIZE"]) // local) if local else (trainer["devices"], 1)
    try:
        fabric = Fabric(
            accelerator=trainer["accelerator"],
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if local > 1 or nodes > 1 else "auto",
            precision=precision,
        )
    except (MisconfigurationException, ImportError, ValueError, TypeError, RuntimeError) as error:
        asked = ", ".join(f"trainer.{key}={trainer[key]}" for key in ("accelerator", "devices", "precision"))
        raise InputError(f"{asked}: this machine cannot do that ({error})") from error
    fabric.launch()
    if fabric.global_rank:
        logging.getLogger().setLevel(logging.ERROR)  # the first process speaks for all
    taken = fabric.strategy.precision.precision  # a CPU has no 16-mixed, and takes bf16-mixed for it
    log.info("device %s, precision %s, %d process(es)", fabric.device, taken, fabric.world_size)
    return fabric


def leave() -> None:
    """Ends the work of several processes together: one that exits alone can abort on its open connections."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()  # what hangs on the connection must not outlive it
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
