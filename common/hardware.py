"""What the machine can do: products in bf16, code compiled by numba, and memory that is given back."""

import ctypes
import logging
from collections.abc import Callable
from functools import cache

log = logging.getLogger(__name__)


def has_bf16(accelerator: str) -> bool:
    """Whether products in bf16 are faster than in float32 here."""
    import torch

    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.backends.cpu.get_cpu_capability() if accelerator in ("auto", "cpu") else ""
    return "AVX512" in capabilities and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def has_numba() -> bool:
    """Whether numba compiles here; NUMBA_DISABLE_JIT=1 turns it off."""
    try:
        import numba
    except ImportError as error:
        log.warning("numba does not load (%s): recurrent layers run uncompiled, several times slower", error)
        return False
    return not numba.config.DISABLE_JIT


@cache
def _trim() -> Callable[[int], object]:
    """glibc's malloc_trim, or a function that does nothing."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another libc, or another system
        return lambda pad: 0


def release_memory() -> None:
    """Gives the system what was freed: batches of many shapes leave glibc's heap in pieces, which grow."""
    _trim()(0)
