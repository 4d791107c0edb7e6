"""A page as a searchable PDF (ISO 32000-1): its picture, and over it its words, invisible.

The words are set in a font without outlines (Type 3, section 9.6.5) with a table of what each code stands for
in Unicode (ToUnicode, section 9.10.3): any letter can be searched and copied, and no font is embedded.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator

import numpy as np

from carousel.common.errors import InputError
from carousel.common.files import Source
from carousel.hwr.image.file import Picture, read_picture
from carousel.hwr.page.write import Sheet, TextLine

POINTS = 72  # of a PDF to an inch
DPI = 200.0  # of a picture that does not tell it
LEAST_DPI, MOST_DPI = 50.0, 1200.0  # beyond these, what a picture tells is no resolution of a scan
LARGEST = 14_400  # points: no side of a page may be longer
QUALITY = 90  # of JPEG, for pictures in other formats
CODES = 255  # in a font; code 0 is left out
WIDTH, ABOVE, BELOW = 0.5, 0.75, 0.25  # of a letter, in font sizes


def searchable(sheet: Sheet, source: Source, page: int | None) -> bytes:
    """The PDF of a page. source, page: its picture, as of read_picture. Raises InputError."""
    picture = read_picture(source, page)
    image = picture.image
    if image.size != (sheet.width, sheet.height):
        raise InputError(f"the picture has changed: it is {image.width} x {image.height} pixels now")
    scale = POINTS / min(max(picture.dpi or DPI, LEAST_DPI), MOST_DPI)  # points to a pixel
    scale = min(scale, LARGEST / max(image.size))
    fonts = _Fonts()
    words = [text for line in sheet.lines for text in _words(line, sheet.height, scale, fonts)]
    width, height = (f"{side * scale:.3f}" for side in image.size)
    content = [f"q {width} 0 0 {height} 0 0 cm /Picture Do Q", "BT 3 Tr", *words, "ET"]
    names = " ".join(f"/F{k} {6 + 2 * k} 0 R" for k in range(len(fonts.letters)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents 4 0 R /Resources "
        f"<< /XObject << /Picture 5 0 R >> /Font << {names} >> >> >>".encode(),
        _stream("\n".join(content).encode()),
        _picture(picture),
        *fonts.objects(first=6),
    ]
    return _file(objects)


def _words(line: TextLine, height: int, scale: float, fonts: _Fonts) -> Iterator[str]:
    """Operators that set the words of a line, each as wide and high as its box, on the baseline."""
    baseline = np.asarray(line.baseline, np.float64)
    ahead = baseline[-1] - baseline[0]
    length = float(np.hypot(*ahead))
    x, y = ahead / length if length else np.array([1.0, 0.0])
    axes = np.array([[x, y], [-y, x]])  # along the line and across it
    on, off = axes @ baseline.T
    order = np.argsort(on)
    for word in line.words:
        left, top, right, bottom = word.box or line.box
        corners = axes @ np.array([[left, right, right, left], [top, top, bottom, bottom]])
        start, end = float(corners[0].min()), float(corners[0].max())
        size = max(float(np.ptp(corners[1])), 1.0) * scale
        first, last = np.interp([start, end], on[order], off[order])
        begin = np.array([start, first]) @ axes
        turn = math.atan2(y, x) + math.atan2(last - first, max(end - start, 1e-6))
        cos, sin = math.cos(turn), math.sin(turn)
        stretch = 100 * max(end - start, 1.0) * scale / (WIDTH * size * len(word.text))
        place = f"{begin[0] * scale:.2f} {(height - begin[1]) * scale:.2f}"
        yield f"{stretch:.2f} Tz {cos:.5f} {-sin:.5f} {sin:.5f} {cos:.5f} {place} Tm"
        for font, codes in fonts.written(word.text + " "):  # some readers part words by spaces alone
            yield f"/F{font} {size:.2f} Tf <{codes.hex()}> Tj"


class _Fonts:
    """The letters that are used, CODES to a font."""

    def __init__(self) -> None:
        self.letters: list[list[str]] = [[]]
        self._places: dict[str, tuple[int, int]] = {}

    def written(self, text: str) -> list[tuple[int, bytes]]:
        """The text as pieces, each of one font: its number and the letters' codes."""
        pieces: list[tuple[int, bytes]] = []
        for letter in text:
            if letter not in self._places:
                if len(self.letters[-1]) == CODES:
                    self.letters.append([])
                self.letters[-1].append(letter)
                self._places[letter] = len(self.letters) - 1, len(self.letters[-1])
            font, code = self._places[letter]
            before = pieces.pop()[1] if pieces and pieces[-1][0] == font else b""
            pieces.append((font, before + bytes([code])))
        return pieces

    def objects(self, first: int) -> Iterator[bytes]:
        """Each font and its table, as the objects from number `first` on, and the one glyph of all fonts."""
        unit, low, high = round(1000 * WIDTH), round(-1000 * BELOW), round(1000 * ABOVE)
        glyph = first + 2 * len(self.letters)
        for number, letters in enumerate(self.letters):
            count = max(len(letters), 1)
            yield (
                f"<< /Type /Font /Subtype /Type3 /FontBBox [0 {low} {unit} {high}] "
                f"/FontMatrix [0.001 0 0 0.001 0 0] /Resources << >> /CharProcs << /g {glyph} 0 R >> "
                f"/Encoding << /Type /Encoding /Differences [1 {'/g ' * count}] >> /FirstChar 1 "
                f"/LastChar {count} /Widths [{f'{unit} ' * count}] /ToUnicode {first + 2 * number + 1} 0 R >>"
            ).encode()
            yield _stream(_table(letters).encode())
        yield _stream(f"{unit} 0 0 {low} {unit} {high} d1".encode())


def _table(letters: list[str]) -> str:
    """A ToUnicode CMap: each code with its letter in UTF-16."""
    rows = [f"<{code:02x}> <{letter.encode('utf-16-be').hex()}>" for code, letter in enumerate(letters, 1)]
    blocks = [rows[start : start + 100] for start in range(0, len(rows), 100)]
    return "\n".join(
        [
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
            "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
            "1 begincodespacerange <00> <ff> endcodespacerange",
            *(f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks),
            "endcmap CMapName currentdict /CMap defineresource pop end end",
        ]
    )


def _picture(picture: Picture) -> bytes:
    """The picture as it is in a JPEG file, or as a new JPEG."""
    image, data = picture.image, picture.jpeg
    if data is None:
        image = image.convert("L") if image.mode == "1" else image
        file = io.BytesIO()
        image.save(file, "JPEG", quality=QUALITY)
        data = file.getvalue()
    space = "DeviceGray" if image.mode == "L" else "DeviceRGB"
    head = f"/Type /XObject /Subtype /Image /Width {image.width} /Height {image.height}"
    head += f" /ColorSpace /{space} /BitsPerComponent 8 /Filter /DCTDecode /Length {len(data)}"
    return b"<< " + head.encode() + b" >>\nstream\n" + data + b"\nendstream"


def _stream(data: bytes) -> bytes:
    packed = zlib.compress(data)
    head = f"<< /Filter /FlateDecode /Length {len(packed)} >>\nstream\n"
    return head.encode() + packed + b"\nendstream"


def _file(objects: list[bytes]) -> bytes:
    """A file of objects, the first of which is the catalogue, with the table of where each is (7.5.4)."""
    out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start, count = len(out), len(objects) + 1
    out += f"xref\n0 {count}\n0000000000 65535 f \n{table}".encode()
    out += f"trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)
