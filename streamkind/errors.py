"""What can go wrong, as a tree.

StreamkindError
├── UsageError    an option or a combination of options that cannot work
├── InputError    the source cannot be read
├── OutputError   the result cannot be written
└── EngineError   a model or a backend cannot be loaded or run

Every message says what was wrong, what was expected and what to do next.
"""


class StreamkindError(Exception):
    """Base of everything that streamkind raises on purpose."""


class UsageError(StreamkindError):
    """An option, or a combination of options, that cannot work."""


class InputError(StreamkindError):
    """The source cannot be read as footage."""


class OutputError(StreamkindError):
    """The result cannot be written where it was asked for."""


class EngineError(StreamkindError):
    """A model or a backend cannot be loaded or run."""
