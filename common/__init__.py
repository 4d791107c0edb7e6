"""What sound and ink share: alphabet, corpus, network, training, decoding. Imports neither asr nor hwr."""

import os
from pathlib import Path

from carousel.common.compiling.cache import choose_folder, watch

watch()
if "NUMBA_CACHE_DIR" not in os.environ:  # before anything imports numba, which reads it then
    os.environ["NUMBA_CACHE_DIR"] = str(choose_folder(Path(__file__).parent))
