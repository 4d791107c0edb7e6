"""XML of somebody else, read without what could harm: entities of its own, and more than a sample has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from carousel.common.errors import InputError

LARGEST = 64 << 20  # bytes
Element = ElementTree.Element


def read_xml(path: Path) -> Element:
    """The root element. Raises InputError naming the file; also for entities of its own, which might never
    end, or name other files."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: is larger than {LARGEST >> 20} MB; cut it up")
        data = path.read_bytes()
        parser = expat.ParserCreate()
        parser.EntityDeclHandler = _refuse
        parser.Parse(data, True)
        return ElementTree.fromstring(data)
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as XML ({error}); save it again") from None


def _refuse(*declaration: object) -> None:
    raise InputError("declares entities of its own, which are not read for safety; remove them")


def root_of(path: Path) -> str:
    """The name of the root element, without reading on; empty for what is no XML."""
    parser: ElementTree.XMLPullParser = ElementTree.XMLPullParser(["start"])
    try:
        with path.open("rb") as file:
            parser.feed(file.read(1 << 13))
        started = (event[-1] for event in parser.read_events())
        return next((tag(element) for element in started if isinstance(element, Element)), "")
    except (OSError, ElementTree.ParseError, ValueError, LookupError):
        return ""


def tag(element: Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def below(element: Element, *names: str) -> Iterator[Element]:
    """The children of these names, whatever their namespace."""
    return (child for child in element if tag(child) in names)


def all_below(element: Element, name: str) -> Iterator[Element]:
    """The elements of a name at any depth."""
    return (inner for inner in element.iter() if tag(inner) == name)
