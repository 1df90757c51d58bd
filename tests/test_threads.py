from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from streamkind.video.frames import Batch, Frame, batched
from streamkind.video.threads import ReadAhead, WriteBehind

PIXELS = np.zeros((2, 2, 3), np.uint8)


class BoomError(Exception):
    pass


def frames(count: int, *, fail_at: int | None = None) -> Iterator[Frame]:
    for number in range(count):
        if number == fail_at:
            raise BoomError(f"reader at {number}")
        yield Frame(PIXELS, number, Fraction(1, 25))


class Sink:
    def __init__(self, *, fail_at: int | None = None, seconds: float = 0.0) -> None:
        self.fail_at = fail_at
        self.seconds = seconds
        self.written: list[int] = []

    def write(self, frame: Frame) -> None:
        if frame.pts == self.fail_at:
            raise BoomError(f"writer at {frame.pts}")
        time.sleep(self.seconds)
        self.written.append(frame.pts)


def batch(*numbers: int) -> Batch:
    made = tuple(Frame(PIXELS, number, Fraction(1, 25)) for number in numbers)
    return Batch(np.stack([PIXELS] * len(made)), made)


def threads_left() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("streamkind-")]


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 300])
def test_every_frame_arrives_once_in_order(count: int, size: int, depth: int) -> None:
    sink = Sink()
    with ReadAhead(frames(count), depth=depth) as ahead, WriteBehind(sink, depth=depth) as output:
        for group in batched(ahead, size):
            output.put(group)
    assert sink.written == list(range(count))


@pytest.mark.parametrize("stage", ["reader", "writer", "last write", "consumer"])
def test_an_error_of_any_stage_reaches_the_caller_at_once(stage: str) -> None:
    source = frames(100_000, fail_at=5 if stage == "reader" else None)
    last = 9
    sink = Sink(fail_at={"writer": 5, "last write": last}.get(stage))
    began = time.perf_counter()
    with pytest.raises(BoomError), ReadAhead(source) as ahead, WriteBehind(sink) as output:
        for frame in ahead:
            if stage == "consumer" and frame.pts == 5:
                raise BoomError("consumer")
            output.put(batch(frame.pts))
            if stage == "last write" and frame.pts == last:
                break
    assert time.perf_counter() - began < 1
    assert not threads_left()


def test_the_readers_frames_before_its_error_are_delivered() -> None:
    got = []
    with pytest.raises(BoomError), ReadAhead(frames(10, fail_at=4)) as ahead:
        for frame in ahead:
            got.append(frame.pts)
            time.sleep(0.01)
    assert got == [0, 1, 2, 3]


def test_put_raises_soon_when_the_writer_has_died() -> None:
    with pytest.raises(BoomError), WriteBehind(Sink(fail_at=0), depth=1) as output:
        output.put(batch(0))
        time.sleep(0.1)
        began = time.perf_counter()
        try:
            output.put(batch(1))
        finally:
            assert time.perf_counter() - began < 0.1


def test_put_raises_soon_while_it_waits_for_room() -> None:
    class DiesLater(Sink):
        def write(self, frame: Frame) -> None:
            time.sleep(0.2)
            raise BoomError

    began = time.perf_counter()
    with pytest.raises(BoomError), WriteBehind(DiesLater(), depth=1) as output:
        for number in range(100):
            output.put(batch(number))
    assert time.perf_counter() - began < 0.5


def test_leaving_cleanly_drains() -> None:
    sink = Sink(seconds=0.02)
    with WriteBehind(sink, depth=8) as output:
        for number in range(8):
            output.put(batch(number))
        assert len(sink.written) < 8
    assert sink.written == list(range(8))


@pytest.mark.parametrize("error", [BoomError, KeyboardInterrupt])
def test_leaving_on_an_exception_does_not_drain(error: type[BaseException]) -> None:
    sink = Sink(seconds=0.05)
    began = time.perf_counter()
    with pytest.raises(error), WriteBehind(sink, depth=8) as output:
        for number in range(8):
            output.put(batch(number, number))
        raise error
    assert time.perf_counter() - began < 0.3
    assert len(sink.written) < 8


def test_leaving_early_stops_an_endless_source() -> None:
    with ReadAhead(frames(10**9)) as ahead:
        assert next(iter(ahead)).pts == 0
    assert not threads_left()


def test_the_reader_is_never_more_than_its_depth_ahead() -> None:
    taken = []

    def source() -> Iterator[Frame]:
        for frame in frames(100):
            taken.append(frame.pts)
            yield frame

    with ReadAhead(source(), depth=3) as ahead:
        next(iter(ahead))
        time.sleep(0.2)
        assert len(taken) == 1 + 3 + 1  # delivered, queued, and one waiting for room


def test_a_generator_is_closed_in_its_own_thread() -> None:
    closed_in = []

    def source() -> Iterator[Frame]:
        try:
            yield from frames(100)
        finally:
            closed_in.append(threading.current_thread().name)

    with ReadAhead(source(), depth=1):
        pass
    assert closed_in in ([], ["streamkind-read"])


def test_busy_time_is_measured_without_waiting() -> None:
    def slow() -> Iterator[Frame]:
        for frame in frames(4):
            time.sleep(0.02)
            yield frame

    sink = Sink(seconds=0.02)
    with ReadAhead(slow()) as ahead, WriteBehind(sink) as output:
        for frame in ahead:
            time.sleep(0.05)
            output.put(batch(frame.pts))
    assert 0.07 < ahead.seconds < 0.16
    assert 0.07 < output.seconds < 0.16


def test_put_outside_of_with_is_refused() -> None:
    with pytest.raises(RuntimeError, match="outside"):
        WriteBehind(Sink()).put(batch(0))


def test_depth_must_be_positive() -> None:
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        ReadAhead(frames(1), depth=0)
