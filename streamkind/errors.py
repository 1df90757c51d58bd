"""The exceptions of streamkind:

StreamkindError
├── UsageError    an option or a combination of options that cannot work
├── InputError    the source cannot be read
├── OutputError   the result cannot be written
└── EngineError   a model or a backend cannot be loaded or run

Every message says what was wrong, what was expected and what to do next.
"""


def in_words(error: Exception) -> str | None:
    """Return one line for an exception of the system; None for one that users cannot act on."""
    if isinstance(error, MemoryError):
        return "this machine has too little memory; free some, or use --profile realtime"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; check the path, its permissions and the disk"
    return None


class StreamkindError(Exception):
    """Base class of all exceptions of streamkind."""


class UsageError(StreamkindError):
    """An option, or a combination of options, that cannot work."""


class InputError(StreamkindError):
    """The input cannot be read."""


class OutputError(StreamkindError):
    """The output cannot be written."""


class EngineError(StreamkindError):
    """A model or a backend cannot be loaded or run."""
