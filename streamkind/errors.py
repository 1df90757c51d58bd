"""The exceptions of streamkind:

StreamkindError
├── UsageError    an option or a combination of options that cannot work
├── InputError    the source cannot be read
├── OutputError   the result cannot be written
└── EngineError   a model or a backend cannot be loaded or run

Every message says what was wrong, what was expected and what to do next.
"""


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
