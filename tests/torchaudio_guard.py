"""Import torchaudio beside any torch.

torchaudio 2.11 (its last release) loads a compiled part that is built against CUDA: beside a CPU-only torch,
`import torchaudio` ends in `OSError: libc10_cuda.so`. Without that part mel, MFCC, masking, speed, Kaldi's
features and resampling work all the same (they are plain torch); `forced_align`, `rnnt_loss` and `load` do
not.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn


def import_torchaudio() -> ModuleType:
    """The torchaudio module, without its compiled part where that cannot be loaded."""
    try:
        import torchaudio
    except OSError:
        _forget_torchaudio()
        sys.modules["torchaudio._extension"] = _no_extension()
        import torchaudio
    return torchaudio


def _no_extension() -> ModuleType:
    """What `torchaudio/_extension/__init__.py` leaves behind when there is no compiled part."""

    def fail_if_no_align(function: Callable) -> Callable:  # a decorator
        def fail(*_arguments: Any, **_options: Any) -> NoReturn:
            raise RuntimeError(f"torchaudio's {function.__name__} needs a compiled part that cannot load")

        return fail

    module = ModuleType("torchaudio._extension")
    module.__path__ = []  # a package, as the real one
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    module._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    module.fail_if_no_align = fail_if_no_align  # type: ignore[attr-defined]
    return module


def _forget_torchaudio() -> None:
    """Drop what a failed import left in `sys.modules`, so that the next one begins anew."""
    for name in [name for name in sys.modules if name == "torchaudio" or name.startswith("torchaudio.")]:
        del sys.modules[name]
