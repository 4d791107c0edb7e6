"""The page in a real browser: a headless Chromium, where there is one, that speaks, writes, drops, edits and
downloads."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

for needed in ("fastapi", "uvicorn", "websockets", "multipart", "httpx", "playwright"):
    pytest.importorskip(needed, reason=f"needs {needed}: the extra web, and playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("needs chromium on the PATH", allow_module_level=True)

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

import carousel
from carousel.hwr.domain import IMAGE, INK
from tests.common.serve.test_server import DIGITS, SAID
from tests.conftest import corpus

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    heard = [f"--use-file-for-fake-audio-capture={DIGITS}", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--use-fake-ui-for-media-stream", *heard]
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def addresses(speech: str, hand: str) -> dict[str, str]:
    return {"asr": speech, "hwr": hand}


@pytest.fixture
def opened(browser: Browser, addresses: dict[str, str]) -> Iterator[Any]:
    """Opens the page of a program; whatever the browser complains of, the policy above all, is a failure."""
    complaints: list[str] = []
    contexts = []

    def open_page(program: str, **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": DESK, **settings})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(addresses[program])
        page.wait_for_selector("section.input:not([hidden])")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def drop(page: Page, section: str, file: Path) -> None:
    """A file from outside, as the browser gives it to the page."""
    handle = page.evaluate_handle(
        """([bytes, name]) => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name)); return data; }""",
        [list(file.read_bytes()), file.name],
    )
    page.dispatch_event(section, "drop", {"dataTransfer": handle})


def download(page: Page, form: str) -> str:
    page.select_option("#format", form)
    with page.expect_download() as found:
        page.click("#download")
    return Path(found.value.path()).read_text(encoding="utf-8")


def write(page: Page, strokes: list[list[float]]) -> None:
    """Real strokes with a pen that moves as they do, scaled into the writing area."""
    box = page.locator("#pad").bounding_box()
    xs, ys = [x for s in strokes for x in s[::2]], [y for s in strokes for y in s[1::2]]
    scale = min((box["width"] - 40) / (max(xs) - min(xs)), (box["height"] - 40) / (max(ys) - min(ys)))
    for stroke in strokes:
        points = [
            (box["x"] + 20 + (x - min(xs)) * scale, box["y"] + 20 + (y - min(ys)) * scale)
            for x, y in zip(stroke[::2], stroke[1::2], strict=True)
        ]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()


def test_a_sound_is_dropped_played_edited_and_downloaded(opened, addresses):
    page = opened("asr")
    expect(page.locator("#ink")).to_be_hidden()
    drop(page, "#speech", DIGITS)
    words = page.locator("#words button")
    expect(words).to_have_count(5)
    assert words.nth(1).get_attribute("aria-label").startswith("ONE, at 1.08 s (99 %)")
    words.nth(1).click()
    expect(words.nth(1)).to_have_class("now")
    assert SAID in page.locator("#seen").get_attribute("aria-label")
    assert download(page, "txt") == SAID + "\n"
    page.get_by_role("textbox", name="Text").fill("THREE ONE OH FOUR NINE ZERO")
    assert "THREE ONE OH FOUR NINE ZERO" in download(page, "srt")
    found = json.loads(download(page, "json"))
    assert [w["start"] for w in found["words"] if w["text"] in ("ONE", "FOUR")] == [1.08, 1.83]
    assert "activations" not in found and found["text"].split()[2] == "OH"
    page.click("#keep")
    command = page.locator("#kept code")
    expect(command).to_have_text(re.compile("asr train data=.* init=speech-en-commands"))
    folder = command.inner_text().split("data=")[1].split()[0]
    (line,) = Path(folder, "corrections.jsonl").read_text().splitlines()
    assert json.loads(line)["text"] == "THREE ONE OH FOUR NINE ZERO"


def test_what_is_said_grows_while_it_is_recorded(opened):
    page = opened("asr", permissions=["microphone"])
    page.click("#record")
    expect(page.locator("#growing")).to_contain_text("ONE FOUR", timeout=20_000)
    page.click("#record")
    expect(page.locator("#words button").first).to_be_visible()
    assert "ONE FOUR" in page.get_by_role("textbox", name="Text").input_value()
    expect(page.locator("#record")).to_have_attribute("aria-pressed", "false")


def samples() -> list[list[list[float]]]:
    """Strokes of a font, and of a hand where the corpus is at hand."""
    found = [json.loads((INK.samples / "word.json").read_text())["strokes"]]
    with suppress(pytest.skip.Exception), gzip.open(corpus("unipen-words") / "test.jsonl.gz", "rt") as lines:
        found.append(next(row["strokes"] for row in map(json.loads, lines) if len(row["text"]) > 5))
    return found


def test_ink_is_read_while_it_is_written(opened):
    page = opened("hwr")
    text = page.get_by_role("textbox", name="Text")
    for strokes in samples():
        write(page, strokes)
        points = [np.reshape(stroke, (-1, 2)) for stroke in strokes]
        expect(text).to_have_value(carousel.load("ink").recognise(points).text)
        assert page.locator("#nbest li").count() >= 1
        assert download(page, "txt").strip() == text.input_value()
        page.click("#keep")
        expect(page.locator("#kept code")).to_contain_text("hwr train data=")
        page.click("#clear")
        expect(page.locator("#result")).to_be_hidden()


def test_a_page_is_dropped_corrected_and_written(opened, tmp_path):
    line = Image.open(IMAGE.samples / "line.png").convert("L")
    sheet = Image.new("L", (line.width + 200, 5 * line.height + 200), 255)
    for number in range(3):
        sheet.paste(line, (100, 100 + int(1.6 * number * line.height)))
    sheet.save(tmp_path / "page.png")
    page = opened("hwr", viewport=PHONE)
    drop(page, "#image", tmp_path / "page.png")
    expect(page.locator("#lines input")).to_have_count(3)
    page.get_by_label("Line 2").fill("a line & a half")
    strings = [
        [s.get("CONTENT") for s in row.iter() if s.tag.endswith("String")]
        for row in ElementTree.fromstring(download(page, "alto")).iter()
        if row.tag.endswith("TextLine")
    ]
    assert len(strings) == 3 and strings[1] == ["a", "line", "&", "a", "half"]
    assert strings[0] == page.get_by_label("Line 1").input_value().split()
    assert "a line &amp; a half" in download(page, "page")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], "the page is wider than a phone"


def test_a_file_that_cannot_be_read_is_told(browser, addresses, tmp_path):
    (tmp_path / "no.wav").write_bytes(b"no sound")
    page = browser.new_page()
    page.goto(addresses["asr"])
    page.wait_for_selector("#speech:not([hidden])")
    drop(page, "#speech", tmp_path / "no.wav")
    expect(page.locator("#status")).to_contain_text("no.wav: cannot be read as audio")
    page.close()


@pytest.mark.parametrize("program", ["asr", "hwr"])
def test_the_page_is_accessible(browser, addresses, program):
    """By axe (WCAG 2.1 A and AA), with a result on the page, in light and dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    context = browser.new_context(bypass_csp=True)  # axe is put into the page
    page = context.new_page()
    page.goto(addresses[program])
    section, file = ("#speech", DIGITS) if program == "asr" else ("#image", IMAGE.samples / "line.png")
    page.wait_for_selector(f"{section}:not([hidden])")
    drop(page, section, file)
    page.wait_for_selector("#result:not([hidden])")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page)
        assert not found.violations_count, found.generate_report()
    context.close()


def test_it_can_be_used_by_keyboard_alone(opened):
    page = opened("asr")
    page.set_input_files("#speech input", DIGITS)
    page.wait_for_selector("#words button")
    page.locator("#record").focus()
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.ariaLabel || ''"))
    assert {"speech-model", "view", "format", "download", "keep"} <= reached
    assert sum(name.endswith("; play") for name in reached) == 5  # the words
