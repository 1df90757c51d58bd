"""Writes the tables of the pages, between their markers, from docs/figures."""

from __future__ import annotations

import re
from pathlib import Path

from parts.record import ROOT, Record, Table

BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""`<!-- figures: PART-TABLE -->` to `<!-- end -->`. The name `pages` is that of the table of all
pages."""
COMMAND = re.compile(r"^\$ ", re.MULTILINE)
"""The start of a line with a command."""
NOT_WORDS = re.compile(r"```.*?```|<!--.*?-->|\]\(.*?\)|[^\w\s]+", re.DOTALL)
"""Blocks of code, comments, targets of links, and punctuation, which are not counted as words."""


def public_pages(root: Path = ROOT) -> list[Path]:
    """Return all pages, README.md first."""
    folders = (root.glob("*.md"), (root / "docs").rglob("*.md"), (root / "engines").glob("*.md"))
    found = sorted(path for folder in folders for path in folder)
    return sorted(found, key=lambda path: path != root / "README.md")


def parts_of(text: str) -> list[str]:
    """Return the names of the parts whose figures a page shows, without duplicates."""
    names = [match[2].partition("-")[0] for match in BLOCK.finditer(text)]
    return sorted({name for name in names if name != "pages"})


def block(name: str, records: dict[str, Record]) -> str:
    """Return a table and the line below it. Raises KeyError if docs/figures does not have it."""
    part, _, table = name.partition("-")
    told = records[part].tables[table]
    if not told.rows:
        return "\nNot measured yet.\n\n"
    return f"\n{told.markdown()}\n\n{records[part].origin()}\n\n"


def all_pages(texts: dict[str, str], records: dict[str, Record]) -> str:
    """Return the table of all pages: words, commands, and date of the oldest figures."""
    rows = []
    for name, text in texts.items():
        prose = NOT_WORDS.sub(" ", BLOCK.sub("", text))
        dates = sorted(records[part].date for part in parts_of(text) if part in records)
        words, commands = len(prose.split()), len(COMMAND.findall(text))
        link = f"[{name}]({'' if name.startswith('docs/') else '../'}{name.removeprefix('docs/')})"
        rows.append([link, words, commands or None, dates[0] if dates else None])
    columns = {"page": "", "words": "d", "commands": "d", "oldest figures of": ""}
    return f"\n{Table(columns, rows).markdown()}\n\n"


def renewed(records: dict[str, Record], root: Path = ROOT) -> dict[Path, str]:
    """Return the text that each page should have.

    Raises KeyError, with the name of the page, for a table that no record has.
    """
    pages = {path: path.read_text("utf-8") for path in public_pages(root)}
    names = {str(path.relative_to(root)): text for path, text in pages.items()}

    def fill(match: re.Match[str]) -> str:
        told = all_pages(names, records) if match[2] == "pages" else block(match[2], records)
        return match[1] + told + match[3]

    made = {}
    for path, text in pages.items():
        try:
            made[path] = BLOCK.sub(fill, text)
        except KeyError as error:
            raise KeyError(f"{path.relative_to(root)}: docs/figures has no {error}") from error
    return made


def forged(records: dict[str, Record], root: Path = ROOT) -> list[str]:
    """Return the names of pages with a table that differs from docs/figures.

    The table of all pages is not compared, because every edit of a page changes it.
    """
    found = []
    for path, made in renewed(records, root).items():
        pairs = zip(BLOCK.finditer(path.read_text("utf-8")), BLOCK.finditer(made), strict=True)
        if any(a[0] != b[0] for a, b in pairs if a[2] != "pages"):
            found.append(str(path.relative_to(root)))
    return found
