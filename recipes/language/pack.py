"""A text packed by a language model, and back: python -m carousel.recipes.language.pack MODEL FILE

Writes FILE.crsl, beside which it says what gzip and xz make of the same text; with --back the text of a
FILE.crsl. The same machine with the same number of threads has to do both.
"""

import gzip
import lzma
import sys
import time
from argparse import Namespace

from carousel.common.cli.files import write_whole
from carousel.common.cli.prepare import run
from carousel.common.cli.streams import show
from carousel.common.errors import InputError
from carousel.common.language.lstm import load
from carousel.common.language.packing import pack, unpack

OPTIONS = {
    "model": {"help": "an LSTM language model of characters"},
    "file": {"help": "a text in UTF-8, or with --back one that was packed"},
    "--back": {"action": "store_true", "help": "write the text again, to FILE without .crsl"},
}
SUFFIX = ".crsl"


def prepare(arguments: Namespace) -> None:
    """Raises InputError for what cannot be read, and for a file that would be written over."""
    file, model = arguments.file, load(arguments.model)
    try:
        data = file.read_bytes()
        text = "" if arguments.back else data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as a text ({error})") from None
    if arguments.back and file.suffix != SUFFIX:
        raise InputError(f"{file}: what was packed is called FILE{SUFFIX}")
    target = file.with_suffix("") if arguments.back else file.with_name(file.name + SUFFIX)
    if target.exists():
        raise InputError(f"{target}: is there already; move it away")
    began = time.monotonic()
    try:
        made = unpack(data, model).encode("utf-8") if arguments.back else pack(text, model)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    write_whole(target, made)
    show(f"{target}: {len(made):,} bytes, {time.monotonic() - began:.1f} s")
    if not arguments.back and text:
        sizes = {"packed": len(made), "xz -9e": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))}
        sizes["gzip -9"] = len(gzip.compress(data, 9))
        for name, size in sizes.items():
            show(f"{name:8s} {8 * size / len(text):.3f} bits a character")


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
