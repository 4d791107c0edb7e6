"""Which files of a folder are models, by their names alone."""

from pathlib import Path

SUFFIX = ".safetensors"
LANGUAGE = ".lm" + SUFFIX  # of the language model beside a model


def model_files(folder: Path) -> list[Path]:
    """The model files right in a folder, by name, without the language models beside them."""
    return sorted(path for path in folder.glob("*" + SUFFIX) if not path.name.endswith(LANGUAGE))


def language_model(model: Path) -> Path | None:
    """The language model beside a model, which it is read with unless told otherwise."""
    beside = model.with_suffix(LANGUAGE)
    return beside if beside.is_file() else None
