"""Pages for people: one HTML file each, which needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carousel.common.errors import InputError
from carousel.common.files import atomic_text

Media = tuple[str, bytes]  # its type, such as audio/mpeg, and the file
STYLE = Path(__file__).parent / "style.css"


def write_page(path: Path, template: Path, context: Mapping[str, Any]) -> None:
    """Fills a template of jinja, in which `style` is the style of all pages. Raises InputError where the page
    cannot be written."""
    from jinja2 import Environment

    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        template.read_text(encoding="utf-8")
    )
    text = page.render({**context, "style": STYLE.read_text(encoding="utf-8")})
    try:
        with atomic_text(path) as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give another file") from None


def element(media: Media | None, name: str) -> str:
    """HTML that holds the file itself; nothing for none."""
    if media is None:
        return ""
    kind, data = media
    source = f'src="data:{kind};base64,{base64.b64encode(data).decode()}"'
    if kind.startswith("audio/"):
        return f'<audio controls preload="none" {source}></audio>'
    return f'<img alt="{html.escape(name)}" {source}>'
