"""XML that a user was sent: parsed without what its document type could do, and its root told at a glance."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from carousel.common.errors import InputError

PAGES = ("alto", "PcGts")  # root elements of ALTO and PAGE


def parse(data: bytes) -> Element:
    """The root element. A document type is refused: its entities might never end. Raises InputError without
    the file's name."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise InputError(f"is not well-formed XML ({error})") from None


def _refuse(*declaration: object) -> None:
    raise InputError("has a document type declaration, which is not read for safety; remove it")


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
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]
