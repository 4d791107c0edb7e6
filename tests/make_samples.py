"""Rebuild asr/samples and hwr/samples from Debian's packages.

    mkdir packages && cd packages
    apt-get download asterisk-core-sounds-en-g722 fonts-breip inkscape
    for package in *.deb; do dpkg -x $package .; done
    python -m tests.make_samples packages

ffmpeg decodes the recordings (G.722). The same packages give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw, ImageFont

REPOSITORY = Path(__file__).resolve().parent.parent
SPEECH = REPOSITORY / "asr" / "samples"
HANDWRITING = REPOSITORY / "hwr" / "samples"

RATE = 16000  # Hz, of G.722 and of the models
PAUSE = 0.12  # seconds between two recordings
QUIET = 0.02  # of full scale: what lies below it at both ends of a recording is cut off

# name → the recordings (folder/name under sounds/en_US_f_Allison) and the words they say
PHRASES = {
    "phrase": [(f"letters/{letter}", letter) for letter in "carousel"]
    + [("digits/mon-9", "october"), ("digits/20", "twenty"), ("digits/7", "seven")],
    "digits": [
        ("digits/3", "three"),
        ("digits/1", "one"),
        ("digits/4", "four"),
        ("digits/9", "nine"),
        ("digits/0", "zero"),
    ],
}
LINE = "Seven letters came by post on 12 May"
WORD = "carousel"


def main() -> None:
    parser = argparse.ArgumentParser(description="rebuild the samples from unpacked Debian packages")
    parser.add_argument("packages", type=Path, help="the folder that the packages were unpacked into")
    usr = parser.parse_args().packages / "usr" / "share"
    for name, parts in PHRASES.items():
        make_phrase(usr / "asterisk" / "sounds" / "en_US_f_Allison", parts, SPEECH / f"{name}.wav")
    make_line(usr / "fonts" / "truetype" / "breip" / "Breip.ttf", LINE, HANDWRITING / "line.png")
    fonts = usr / "inkscape" / "extensions" / "svg_fonts"
    make_word(fonts / "EMSTech.svg", WORD, HANDWRITING / "word.json")


def make_phrase(sounds: Path, parts: list[tuple[str, str]], path: Path) -> None:
    """Join recordings with short pauses. Beside the WAV goes a JSON with the words and their times."""
    pause = np.zeros(int(PAUSE * RATE), dtype=np.int16)
    pieces, words, now = [pause], [], len(pause)
    for file, word in parts:
        wave = trim(decode(sounds / f"{file}.g722"))
        words.append(
            {"text": word.upper(), "start": round(now / RATE, 3), "end": round((now + len(wave)) / RATE, 3)}
        )
        pieces += [wave, pause]
        now += len(wave) + len(pause)
    soundfile.write(path, np.concatenate(pieces), RATE, subtype="PCM_16")
    row = {
        "audio": path.name,
        "text": " ".join(word for _, word in parts).upper(),  # as AN4 writes
        "speaker": "Allison Smith",
        "duration": round(now / RATE, 3),
        "words": words,
    }
    path.with_suffix(".json").write_text(json.dumps(row) + "\n")


def decode(path: Path) -> np.ndarray:
    """(samples,) int16 of one G.722 file."""
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "g722",
        "-i",
        str(path),
        "-f",
        "s16le",
        "-ac",
        "1",
        "-ar",
        str(RATE),
        "-",
    ]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, dtype="<i2")


def trim(wave: np.ndarray) -> np.ndarray:
    """Without the silence at both ends, but for 50 ms of it: soft consonants lie below the threshold."""
    loud = np.flatnonzero(np.abs(wave.astype(np.int32)) > QUIET * 32768)
    margin = RATE // 20
    return wave[max(0, loud[0] - margin) : loud[-1] + margin]


def make_line(font: Path, text: str, path: Path) -> None:
    """A line in blue ink on unevenly lit paper, one degree out of true; beside it the text as .gt.txt."""
    scale = 3  # drawn large and shrunk: smooth strokes
    letters = ImageFont.truetype(font, 54 * scale)
    left, top, right, bottom = letters.getbbox(text)
    margin = 24 * scale
    size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    ink = Image.new("L", size, 0)
    ImageDraw.Draw(ink).text((margin - left, margin - top), text, font=letters, fill=255)
    ink = ink.rotate(1.0, resample=Image.Resampling.BICUBIC)
    ink = ink.resize((size[0] // scale, size[1] // scale), Image.Resampling.LANCZOS)
    cover = np.asarray(ink, dtype=np.float32)[..., None] / 255  # (height, width, 1)
    light = np.linspace(1.0, 0.88, cover.shape[1], dtype=np.float32)[None, :, None]
    paper = np.array([246, 243, 234], dtype=np.float32) * light
    page = paper * (1 - cover) + np.array([38, 44, 82], dtype=np.float32) * cover
    Image.fromarray(page.round().astype(np.uint8)).save(path, optimize=True)
    path.with_suffix(".gt.txt").write_text(text + "\n")


def make_word(font: Path, word: str, path: Path) -> None:
    """Pen strokes of a word in a single-line SVG font, the y axis turned to grow downwards."""
    glyphs = {
        glyph.get("unicode"): glyph
        for glyph in ElementTree.parse(font).iter()
        if glyph.tag.endswith("}glyph")
    }
    strokes, pen = [], 0.0
    for character in word:
        glyph = glyphs[character]
        for stroke in glyph.get("d", "").split("M")[1:]:
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", stroke)]
            points = [(pen + x, 800 - y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            strokes.append([round(value / 5, 1) for point in points for value in point])
        pen += float(glyph.get("horiz-adv-x", "0"))
    path.write_text(json.dumps({"strokes": strokes, "text": word, "writer": font.stem}) + "\n")


if __name__ == "__main__":
    main()
