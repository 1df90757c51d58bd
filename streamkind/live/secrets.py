"""Secrets: put into URLs at the last moment, and kept out of all that is told."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from streamkind.errors import UsageError

HIDDEN = "***"
_PLACE = re.compile(r"\$\{(file:)?([^}]*)\}")
_SHORTEST = 4
"""Shorter values are not searched for in texts: they would hide half of every message."""
_known: set[str] = set()
"""All that `resolve` has given out; FFmpeg may repeat any of it in a message."""


def has_secret(text: str) -> bool:
    """Tell whether `resolve` would change a text."""
    return _PLACE.search(text) is not None


def resolve(text: str) -> str:
    """Replace each `${VARIABLE}` by the environment's and each `${file:PATH}` by a file's content.

    Between the scheme and the @ of a URL the values are percent-encoded, as URLs want it. Raises
    UsageError for a variable or file that is not there.
    """

    def value(match: re.Match[str]) -> str:
        found = _read(bool(match[1]), match[2])
        encoded = found
        if "://" in text[: match.start()] and re.match(r"[^/\s]*@", text[match.end() :]):
            encoded = quote(found, safe=":")
        _known.update(v for v in (found, encoded) if len(v) >= _SHORTEST)
        return encoded

    return _PLACE.sub(value, text)


def _read(from_file: bool, name: str) -> str:
    if not from_file:
        if name not in os.environ:
            raise UsageError(f"environment variable {name!r} is not set; a URL or token needs it")
        return os.environ[name]
    try:
        return Path(name).read_text().strip()
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "not text"
        raise UsageError(f"{name}: cannot be read ({reason}); a URL or token needs it") from exc


_AUTHORITY = re.compile(r"(\w[\w+.-]*://)([^\s/@:]*)(:[^\s/]*)?@")
_BROKEN = re.compile(r"(\w[\w+.-]*://[^\s/@:]+):(?!\d+(?:[/\s]|$))[^\s@]*/[^\s]*@")
_QUERY = re.compile(
    r"([?&;][^=&\s]*(?:pass|pwd|token|key|secret|auth|sig)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE
)


def redact(text: str) -> str:
    """Return a text without the passwords of the URLs in it, nor any secret that was resolved."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _BROKEN.sub(rf"\1:{HIDDEN}@", text)  # a password with a / in it is no URL, but a secret
    text = _AUTHORITY.sub(lambda m: f"{m[1]}{m[2]}{':' + HIDDEN if m[3] else ''}@", text)
    return _QUERY.sub(rf"\1{HIDDEN}", text)


def out_of_sight(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Replace the passwords in command-line words by `${VARIABLE}`; return both.

    Every user of a machine sees the arguments of a process, but only its owner the environment.
    """
    variables: dict[str, str] = {}

    def place(secret: str) -> str:
        if not secret or _PLACE.search(secret):
            return secret
        name = f"STREAMKIND_SECRET_{len(variables) + 1}"
        variables[name] = unquote(secret)
        return f"${{{name}}}"

    def hide(word: str) -> str:
        word = _AUTHORITY.sub(
            lambda m: f"{m[1]}{m[2]}{':' + place(m[3][1:]) if m[3] else ''}@", word
        )
        return _QUERY.sub(lambda m: m[1] + place(m[0][len(m[1]) :]), word)

    return [hide(word) for word in words], variables
