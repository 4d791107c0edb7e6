"""`asr prepare` and `hwr prepare` as the tests of recipes call them."""

from carousel.asr.cli import PROGRAM as ASR
from carousel.asr.cli import main as asr
from carousel.common.train.recipe import recipes
from carousel.hwr.cli import main as hwr


def prepare(name: str, *words: object) -> int:
    """The exit status, by the program that has the recipe."""
    return (asr if name in recipes(ASR.names) else hwr)(["prepare", name, *map(str, words)])
