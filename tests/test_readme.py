"""What the README shows runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def test_the_python_lines_run(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text("utf-8"), re.DOTALL)
    shutil.copy(REPOSITORY / "asr" / "samples" / "digits.wav", tmp_path / "talk.wav")
    shutil.copy(REPOSITORY / "hwr" / "samples" / "line.png", tmp_path)
    run = [sys.executable, "-c", code]
    said = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.startswith("THREE ONE FOUR NINE ZERO [('THREE', 0.1")
    assert "Symbol(text='ONE'" in said


def test_links_lead_to_files() -> None:
    for page in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")):
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
        assert not [link for link in links if not (page.parent / link).exists()], page
