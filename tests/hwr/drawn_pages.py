"""Pages of a poem, drawn."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TEXT = """The quick brown fox jumps
over the lazy dog, and then
it sleeps for half the day
behind a heap of old hay;
but by the time that light
fails, both will be hungry
again, and likely to fight
over what is left of it.""".splitlines()
LEFT, TOP, PITCH, SIZE = 90, 80, 62, 40


def written(lines=TEXT, left=LEFT, size=(760, 700), ruled=False) -> tuple[np.ndarray, np.ndarray]:
    """A page and the boxes of its lines."""
    picture = Image.new("L", size, 245)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(SIZE)
    for number, line in enumerate(lines):
        if ruled:
            y = TOP + number * PITCH + 0.85 * SIZE
            pen.line([(20, y), (size[0] - 20, y)], fill=150, width=2)
        pen.text((left, TOP + number * PITCH), line, font=font, fill=30)
    boxes = [pen.textbbox((left, TOP + n * PITCH), line, font=font) for n, line in enumerate(lines)]
    return np.asarray(picture), np.array(boxes, float)
