"""The log of live cameras, on stderr. A thread writes its lines, so that no caller waits.

The limits were chosen by hand.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import select
import threading
import time
from collections.abc import Iterator
from typing import Literal

from streamkind.live.secrets import redact

DEPTH = 1000
"""Largest number of lines that wait for a slow reader. Further lines are dropped and counted."""
END_SECONDS = 1.0
"""Longest time, in seconds, to write the last lines at the end."""
WAIT_SECONDS = 0.1
"""Longest wait, in seconds, for a line before the thread checks whether the log ends."""
Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]


class TextLine(logging.Formatter):
    """Formats a message as one line without secrets, with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return " ".join(redact(super().format(record)).split())


class JsonLine(logging.Formatter):
    """Formats a message as a JSON object: time (UTC, ISO 8601), level, logger, message, camera."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if camera := getattr(record, "camera", ""):
            told["camera"] = camera
        return json.dumps(told | {"message": redact(super().format(record))})


class DroppingHandler(logging.Handler):
    """Writes lines to a file descriptor. Never raises, and never blocks the thread that logs."""

    def __init__(self, file: int) -> None:
        super().__init__()
        self._file = file
        self._lines: queue.Queue[bytes] = queue.Queue(DEPTH)
        self._lost = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamkind-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or drop it if the queue is full."""
        try:
            self._lines.put_nowait(self.format(record).encode(errors="replace") + b"\n")
        except Exception:  # an error of the log must not affect the caller
            self._lost += 1

    def close(self) -> None:
        """Write the waiting lines, for at most `END_SECONDS`."""
        self._closing.set()
        self._thread.join(END_SECONDS)
        super().close()

    def _run(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                if self._closing.is_set():
                    return
                continue
            try:
                lost = self._lost
                if lost:
                    self._write(f"log: {lost} lines were lost\n".encode())
                    self._lost -= lost
                self._write(line)
            except OSError:  # a full disk, a closed pipe or terminal
                self._lost += 1

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._file, line) :]
            except BlockingIOError:
                if self._closing.is_set():
                    raise
                select.select([], [self._file], [], END_SECONDS)


@contextlib.contextmanager
def logging_to_stderr(level: Level, form: Format) -> Iterator[None]:
    """Log to stderr within a `with` block. If stderr is blocked or closed, only lines are lost."""
    handler = DroppingHandler(2)
    handler.setFormatter(JsonLine() if form == "json" else TextLine())
    root, ours = logging.getLogger(), logging.getLogger("streamkind")
    before = root.level, ours.level, threading.excepthook
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours.setLevel(level.upper())
    logging.captureWarnings(True)
    threading.excepthook = lambda args: ours.error(
        "thread %s: %s: %s",
        args.thread.name if args.thread else "",
        args.exc_type.__name__,
        args.exc_value,
    )
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])
        threading.excepthook = before[2]
        handler.close()
