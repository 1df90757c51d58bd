"""Write the address of the repository into pyproject.toml and README.md, before they are packed.

    name_home.py HOME TAG [FOLDER]

HOME is as https://github.com/owner/name. A page of a package has no files beside it, so that links
and pictures of the README lead to those of the tag.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

URLS = {
    "Homepage": "",
    "Documentation": "/blob/{tag}/docs/README.md",
    "Changelog": "/blob/{tag}/CHANGELOG.md",
    "Issues": "/issues",
}
"""Names of PyPI for pages, and where they lie below HOME."""
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#)(?P<path>[^)]+)\)")
"""A link to a file beside the README."""


def with_urls(project: str, home: str, tag: str) -> str:
    """Add URLs to the text of pyproject.toml."""
    lines = [f'{name} = "{home}{path.format(tag=tag)}"\n' for name, path in URLS.items()]
    return project + "\n[project.urls]\n" + "".join(lines)


def with_whole_links(readme: str, home: str, tag: str) -> str:
    """Make links of a Markdown text whole, those of pictures to the pictures themselves."""

    def whole(link: re.Match[str]) -> str:
        kind = "raw" if link["picture"] else "blob"
        return f"{link['picture']}[{link['text']}]({home}/{kind}/{tag}/{link['path']})"

    return LINK.sub(whole, readme)


def main(home: str, tag: str, folder: str = ".") -> None:
    """Change both files."""
    for name, change in (("pyproject.toml", with_urls), ("README.md", with_whole_links)):
        path = Path(folder, name)
        path.write_text(change(path.read_text("utf-8"), home, tag), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
