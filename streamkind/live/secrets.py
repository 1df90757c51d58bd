"""Secrets: inserts them into URLs just before a connection, and hides them in all messages."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from streamkind.errors import UsageError

HIDDEN = "***"
"""Text that messages show in place of a password."""
_PLACE = re.compile(r"\$\{(file:)?([^}]*)\}")
"""Pattern of `${NAME}`, an environment variable, and of `${file:PATH}`, the content of a file."""
_SHORTEST = 4
"""Least length of a value that is searched for in messages. Shorter ones would hide too much."""
_known: set[str] = set()
"""All values that `resolve` has returned; a message of FFmpeg may repeat any of them."""


def has_secret(text: str) -> bool:
    """Return whether `resolve` would change a text."""
    return _PLACE.search(text) is not None


def resolve(text: str) -> str:
    """Replace `${VARIABLE}` from the environment, and `${file:PATH}` by the content of a file.

    Between the scheme and the @ of a URL, values are percent-encoded, as URLs require. Raises
    UsageError for a variable or file that does not exist.
    """

    def value(match: re.Match[str]) -> str:
        found = _read(bool(match[1]), match[2])
        encoded = found
        rest = _PLACE.sub("x", text[match.end() :])  # the name of a file has slashes
        if "://" in text[: match.start()] and re.match(r"[^/\s]*@", rest):
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
        return Path(name).read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "not text"
        raise UsageError(f"{name}: cannot be read ({reason}); a URL or token needs it") from exc


_URL = r"(?<![\w:/@.+-])(\w[\w+.-]*://)"
_LOGIN = re.compile(rf"{_URL}((?:(?![\s'\"(<\[,;=]\w[\w+.-]*://)[^\n])*)@")
"""The scheme of a URL, and everything up to the last @ before the next URL. It may include any
character, because a password may have any."""
_NAMES = (
    r"[a-z0-9.-]*(?:pas|pwd|psw|pswd|token|key|secret|auth|sig|cred|jwt|session|ticket|hash|senha"
    r"|contrase|clave|wachtwoord|kennwort|geheim|mdp)[a-z0-9.\[\]_-]*"
    r"|[a-z0-9.-]*code|pw?|pin|pss|sid|md5"
)
"""Pattern of the names of values that are probably secret."""
_NAMED = re.compile(
    rf"(?<![^\W_])((?:{_NAMES})(?:=|%3d)|(?:pass(?:word|wd|wort)|pwd)(?::|%3a|[_/])(?=[^\s_/])"
    r"|(?:user|usr|login)\w*(?:=|%3d)[^&:\s@/]*(?::|%3a))"
    r"""('[^']*'|"[^"]*"|(?:(?!;\w[\w.-]*=|_(?:channel|stream|subtype|onvif|user)(?:\w*=|_))"""
    r"""[^&\s'"])+)""",
    re.IGNORECASE,
)
"""A value whose name is probably that of a secret: in a query, or in a path as in
`user=a_password=b_channel=1`. Also the text after a user, as in `?login=admin:b`."""
_NARROW = str.maketrans("\uff1a\uff20\uff0f", ":@/")
"""Maps full-width :, @ and /, which Chinese and Japanese keyboards write, to the ASCII ones."""
_SAFE = re.compile(r"[^/?#@\s]*")
"""A user or password without characters that end this part of a URL."""


def redact(text: str) -> str:
    """Hide the passwords of URLs in a text, and all secrets that were resolved.

    URLs are not parsed for this, because a password may make its URL invalid.
    """
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    if "//" in (narrow := text.translate(_NARROW)):
        text = narrow
    return _NAMED.sub(rf"\1{HIDDEN}", _LOGIN.sub(_without_password, text))


def _without_password(match: re.Match[str]) -> str:
    user, found, _ = match[2].partition(":")
    if not found and not re.search("%3a|[/?#@]", user, re.IGNORECASE):
        return match[0]
    shown = user if found and _SAFE.fullmatch(user) else HIDDEN
    return f"{match[1]}{shown}{f':{HIDDEN}' if found else ''}@"


ENCODE = (
    "percent-encode what is special in its user and password: %2F for /, %40 for @, %3A for :,"
    " %23 for #, %3F for ?, %20 for a space"
)


def check_login(url: str) -> None:
    """Raise UsageError for a URL that is invalid because of characters in its password."""
    match = _LOGIN.match(_PLACE.sub("x", url))
    if match is None:
        return
    user, found, password = match[2].partition(":")
    port = re.match(r"\d+(?=[/?#])", password)  # of a host, as in http://host:80/a@b
    if found and not port and not (_SAFE.fullmatch(user) and _SAFE.fullmatch(password)):
        raise UsageError(f"{redact(url)} is no URL; {ENCODE}")


_MEANT = re.compile(r"(?:rtsps?|rtmps?|https?|udp):|[/;\w+.:-]*:(?![\\/]).*@")
"""Beginning of a text that is meant as a URL of the network: a scheme, or a user and a password."""
_NOT_IN_URLS = re.compile(r"[\s\"'<>\x00-\x1f]")
"""Characters that a URL cannot have."""


def is_meant_as_url(text: str) -> bool:
    """Return whether a text is meant as a URL of the network, even if it is not a valid one."""
    text = text.translate(_NARROW)
    return "://" in text or _MEANT.match(text) is not None


def redact_url(url: str) -> str:
    """Hide the passwords of one URL. If it is not valid, all before its last @ is hidden.

    The text after a character that no URL has is hidden too, because it may belong to a password.
    """
    url = url.translate(_NARROW)
    _, found, rest = url.rpartition("@")
    shown = f"{HIDDEN}@{rest}" if found and not _LOGIN.match(url) else redact(url)
    begin = _NOT_IN_URLS.split(shown, maxsplit=1)[0]
    return begin if begin == shown else f"{redact(begin)}{HIDDEN}"


def _has_strange_characters(url: str) -> bool:
    return _NOT_IN_URLS.search(_LOGIN.sub(r"\1", url)) is not None


def _is_broken(text: str) -> bool:
    return is_meant_as_url(text) and (
        text != text.translate(_NARROW)
        or is_unclear(text)
        or _has_strange_characters(text)
        or ("@" in text and not _LOGIN.match(text))
    )


def check_characters(url: str) -> None:
    """Raise UsageError for a URL with characters, after user and password, that no URL has."""
    if url != (narrow := url.translate(_NARROW)):
        wide = next(a for a, b in zip(url, narrow, strict=True) if a != b)
        raise UsageError(
            f"{redact_url(url)} is no URL: it has {wide!r} where {wide.translate(_NARROW)!r} is"
            " meant, or must be percent-encoded"
        )
    if _has_strange_characters(_PLACE.sub("x", url)):
        raise UsageError(
            f"{redact_url(url)} is no URL: it has a space, a quote, < or >; percent-encode it:"
            " %20 for a space, %27 for '"
        )


def is_unclear(url: str) -> bool:
    """Return whether a URL is ambiguous: by RFC 3986 the host of `user:1234/5@host` is `user`."""
    match = _LOGIN.match(url)
    return match is not None and not (
        _SAFE.fullmatch(match[2]) and "%3a" not in match[2].partition(":")[0].lower()
    )


def hide_passwords(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Replace passwords in command-line words by `${VARIABLE}`; return the words and variables.

    All users of a machine can see the arguments of a process, but only its owner can see its
    environment. A URL that its password may have made invalid is replaced as a whole.
    """
    variables: dict[str, str] = {}

    def place(secret: str) -> str:
        if not secret or _PLACE.search(secret):
            return secret
        name = f"STREAMKIND_SECRET_{len(variables) + 1}"
        variables[name] = secret
        return f"${{{name}}}"

    def login(match: re.Match[str]) -> str:
        user, found, password = match[2].partition(":")
        return f"{match[1]}{user}{found}{place(unquote(password))}@"

    def hide(word: str) -> str:
        if _is_broken(_PLACE.sub("x", word)) and not _PLACE.search(word):
            return place(word)
        word = _LOGIN.sub(login, word)
        return _NAMED.sub(lambda m: m[1] + place(unquote(m[0][len(m[1]) :])), word)

    def hide_value(word: str) -> str:
        option, found, value = word.partition("=") if word.startswith("--") else ("", "", word)
        return option + found + hide(value)

    return [hide_value(word) for word in words], variables
