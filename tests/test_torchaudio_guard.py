"""torchaudio can be imported beside whatever torch is installed."""

import subprocess
import sys

import pytest
import torch

from tests.conftest import REPOSITORY
from tests.torchaudio_guard import import_torchaudio


def test_torchaudio_is_imported_beside_this_torch() -> None:
    """In a process of its own: the guard returns one module, and its plain-torch parts work."""
    code = (
        "from tests.torchaudio_guard import import_torchaudio as get\n"
        "import torch\n"
        "audio = get()\n"
        "assert audio is get()\n"
        "import torchaudio\n"
        "assert torchaudio is audio\n"
        "assert torchaudio.functional.resample(torch.ones(160), 16000, 8000).shape == (80,)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_needs_the_compiled_part_of_torchaudio_says_so() -> None:
    torchaudio = import_torchaudio()
    if torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE:
        pytest.skip("this torchaudio has its compiled part")
    with pytest.raises(RuntimeError, match="compiled part"):
        torchaudio.functional.forced_align(torch.zeros(1, 4, 3), torch.ones(1, 1, dtype=torch.int32))
