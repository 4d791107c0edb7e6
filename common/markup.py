"""XML of somebody else: parsed without what its document type could do, and its root told at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from carousel.common.errors import InputError
from carousel.common.files import HEAD, first_bytes, read_source

LARGEST = 64 << 20  # bytes; a newspaper page with a box a letter has a quarter of that


def parse(data: bytes) -> Element:
    """The root element. A document type with declarations of its own is refused: its entities might never
    end, or name other files. Raises InputError without the file's name."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _check_doctype
    try:
        parser.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise InputError(f"is not well-formed XML ({error})") from None


def _check_doctype(name: str, system: str | None, public: str | None, has_declarations: bool) -> None:
    if has_declarations:
        raise InputError("has a document type with declarations, which are not read for safety; remove them")


def read_xml(path: Path) -> Element:
    """The root element of a file. Raises InputError naming the file."""
    data = read_source(path, LARGEST)
    try:
        return parse(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def root_of(path: Path) -> str:
    """`root_tag` of a file; nothing where it cannot be read."""
    return root_tag(first_bytes(path, HEAD))


def root_tag(head: bytes) -> str:
    """The name of the root element, without its namespace, of XML that begins so; nothing where none is."""
    parser: ElementTree.XMLPullParser = ElementTree.XMLPullParser(["start"])
    try:
        parser.feed(head)
        root = next((event[-1] for event in parser.read_events()), None)
    except (ElementTree.ParseError, ValueError, LookupError):
        return ""
    return tag(root) if isinstance(root, Element) else ""


def tag(element: Element) -> str:
    """The name of an element without its namespace; nothing for a comment."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def below(element: Element, *names: str) -> Iterator[Element]:
    """The children of these names, whatever their namespace."""
    return (child for child in element if tag(child) in names)


def all_below(element: Element, name: str) -> Iterator[Element]:
    """The elements of a name at any depth."""
    return (inner for inner in element.iter() if tag(inner) == name)
