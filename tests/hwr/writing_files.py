"""Good files of every kind that holds handwriting: pictures of lines, and pen strokes."""

import gzip
import io
import json

from PIL import Image, ImageDraw

STROKES = [[10, 50, 12, 20, 30, 18, 32, 52], [50, 20, 48, 50, 70, 50], [90, 20, 90, 50], [85, 30, 100, 30]]
POINTS = [list(zip(stroke[::2], stroke[1::2], strict=True)) for stroke in STROKES]


def drawn(shift: int = 0, mode: str = "L") -> Image.Image:
    picture = Image.new("L", (120, 30), 240)
    pen = ImageDraw.Draw(picture)
    for x in range(10 + shift, 110, 12):
        pen.line([(x, 22), (x + 4, 7), (x + 7, 20), (x + 10, 10)], fill=20, width=2)
    return picture.convert(mode)


def pictures() -> dict[str, bytes]:
    kinds = {
        "a.png": ("L", {}), "rgba.png": ("RGBA", {}), "palette.png": ("P", {}), "bit.png": ("1", {}),
        "a.jpg": ("RGB", {}), "a.webp": ("RGB", {}), "lossless.webp": ("RGBA", {"lossless": True}),
        "a.gif": ("P", {}), "a.bmp": ("RGB", {}), "a.pgm": ("L", {}), "a.jp2": ("L", {}),
        "a.avif": ("RGB", {}),
        "raw.tif": ("L", {}), "deep.tif": ("I;16", {}), "lzw.tif": ("L", {"compression": "tiff_lzw"}),
        "fax.tif": ("1", {"compression": "group4"}), "float.tif": ("F", {}),
    }  # fmt: skip
    files = {name: written([drawn(mode=mode)], name, **options) for name, (mode, options) in kinds.items()}
    for name in ("pages.tif", "pages.gif", "pages.png", "pages.webp"):
        files[name] = written([drawn(), drawn(4), drawn(8)], name, save_all=True)
    exif = Image.Exif()
    exif[274] = 6
    files["turned.jpg"] = written([drawn()], "turned.jpg", exif=exif)
    return files


def written(pages: list[Image.Image], name: str, **options: object) -> bytes:
    file = io.BytesIO()
    more = {"append_images": pages[1:]} if len(pages) > 1 else {}
    pages[0].save(file, Image.registered_extensions()["." + name.rpartition(".")[2]], **more, **options)
    return file.getvalue()


def inks() -> dict[str, bytes]:
    traces = "".join(f"<trace>{', '.join(f'{x} {y}' for x, y in stroke)}</trace>" for stroke in POINTS)
    board = "".join(
        "<Stroke>" + "".join(f'<Point x="{x}" y="{y}" time="1"/>' for x, y in stroke) + "</Stroke>"
        for stroke in POINTS
    )
    record = json.dumps({"strokes": STROKES, "text": "x"})
    contents = {
        "a.json": record,
        "pairs.json": json.dumps(POINTS),
        "a.jsonl": f"{record}\n{record}\n",
        "a.inkml": INKML.replace("TRACES", traces),
        "differences.inkml": "<ink><trace>10 50, '2'-30, \"18\"-2, 2 34, * 5, !7 *</trace></ink>",
        "a.xml": f"<WhiteboardCaptureSession><StrokeSet>{board}</StrokeSet></WhiteboardCaptureSession>",
        "a.unipen": ".VERSION 1.0\n.COORD X Y T\n"
        + "".join(
            ".PEN_DOWN\n" + "".join(f"{x} {y} 0\n" for x, y in stroke) + ".PEN_UP\n" for stroke in POINTS
        ),
    }
    files = {name: text.encode() for name, text in contents.items()}
    return files | {"a.json.gz": gzip.compress(files["a.json"], mtime=0)}


INKML = """<?xml version="1.0" encoding="UTF-8"?>
<ink xmlns="http://www.w3.org/2003/InkML"><definitions>
<context xml:id="c"><inkSource xml:id="s"><traceFormat>
<channel name="X"/><channel name="Y" orientation="-ve"/>
</traceFormat></inkSource><canvasTransform><mapping type="affine">1 0 0, 0 -1 0</mapping></canvasTransform>
</context><traceGroup xml:id="g">TRACES</traceGroup></definitions>
<traceView traceDataRef="#g" from="1:2" to="3"/><traceGroup contextRef="#c">TRACES</traceGroup></ink>
"""
