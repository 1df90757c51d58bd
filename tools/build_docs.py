"""Build the pages as a site: python tools/build_docs.py FOLDER.

The build is strict: a link to a page or an anchor that does not exist is an error. The pages can
be read without the site. The site adds a search, and a page of the Python API that is made from the
docstrings.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE")
"""Files of the repository's root that are copied."""
FOLDERS = ("docs", "engines", "streamkind", "tools", "samples")
"""Folders that have pages, or files that pages link to."""
LEFT_OUT = shutil.ignore_patterns("*.onnx", "*.mp4", "*.mkv", "__pycache__", "mkdocs.yml")
"""Function that names the files of these folders that are not copied."""
API = "# Python API\n\n::: streamkind\n"
"""Text of the page of the Python API. mkdocstrings fills it in."""
LINK = re.compile(r"\[([^\]]*)\]\(([^):#]+)\)")
"""A link to a file or folder of the repository: its text, and its target."""


def collect(folder: Path) -> None:
    """Copy the pages, and the files that they link to, with the same relative paths.

    Also write the page of the Python API, and replace links to folders by their text.
    """
    for name in PAGES:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_OUT)
    (folder / "docs" / "api.md").write_text(API, "utf-8")
    for page in folder.rglob("*.md"):
        linked = partial(without_folder, page.parent)
        page.write_text(LINK.sub(linked, page.read_text("utf-8")), "utf-8")


def without_folder(place: Path, link: re.Match[str]) -> str:
    """Return a link, or only its text if it leads to a folder, because a site has no such page."""
    return link[1] if (place / link[2]).is_dir() else link[0]


def main() -> None:
    """Build the site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder for the site")
    site = parser.parse_args().folder.resolve()
    with tempfile.TemporaryDirectory() as folder:
        (pages := Path(folder, "pages")).mkdir()
        collect(pages)
        config = shutil.copy(ROOT / "docs" / "mkdocs.yml", folder)
        words = ["-m", "mkdocs", "build", "--strict", "-f", config, "-d", str(site)]
        quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # or else mkdocs prints a notice
        result = subprocess.run([sys.executable, *words], check=False, env=quiet)
    raise SystemExit(result.returncode)


if __name__ == "__main__":
    main()
