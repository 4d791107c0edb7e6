"""What the machine can do: products in bf16, and code compiled by numba."""

import logging
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
