"""Threads that read and write frames: all frames in order, and no thread outlives its block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.waiting import wait_until

from streamkind.video import threads
from streamkind.video.frames import Batch, Frame, batched
from streamkind.video.threads import Between, ReadAhead, WriteBehind

PIXELS = np.zeros((2, 2, 3), np.uint8)


WAIT_SECONDS = 120
"""Longest wait for another thread before a test fails, in seconds."""


class BoomError(Exception):
    pass


class Frames:
    """A source of `count` frames, which fails at frame `fail_at`.

    `taken` is the number of frames so far. `ended` is set when no more come.
    """

    def __init__(self, count: int, *, fail_at: int | None = None) -> None:
        self.count, self.fail_at = count, fail_at
        self.taken = 0
        self.ended = threading.Event()
        self.closed_in: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        try:
            for number in range(self.count):
                if number == self.fail_at:
                    raise BoomError(f"reader at {number}")
                self.taken += 1
                yield Frame(PIXELS, number, Fraction(1, 25))
        finally:
            self.closed_in.append(threading.current_thread().name)
            self.ended.set()


class Sink:
    """A sink that records the pts of each frame. Before that, it calls `before` with the frame."""

    def __init__(self, before: Callable[[Frame], object] = lambda frame: None) -> None:
        self.before = before
        self.written: list[int] = []

    def write(self, frame: Frame) -> None:
        self.before(frame)
        self.written.append(frame.pts)


def failing_at(number: int | None) -> Callable[[Frame], None]:
    def fail(frame: Frame) -> None:
        if frame.pts == number:
            raise BoomError(f"writer at {frame.pts}")

    return fail


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
    with ReadAhead(Frames(count), depth=depth) as ahead, WriteBehind(sink, depth=depth) as output:
        for group in batched(ahead, size):
            output.put(group)
    assert sink.written == list(range(count))


@pytest.mark.parametrize("stage", ["reader", "writer", "last write", "consumer"])
def test_an_error_of_any_stage_reaches_the_caller_at_once(stage: str) -> None:
    source = Frames(100_000, fail_at=5 if stage == "reader" else None)
    last = 9
    sink = Sink(failing_at({"writer": 5, "last write": last}.get(stage)))
    with pytest.raises(BoomError), ReadAhead(source) as ahead, WriteBehind(sink) as output:
        for frame in ahead:
            if stage == "consumer" and frame.pts == 5:
                raise BoomError("consumer")
            output.put(batch(frame.pts))
            if stage == "last write" and frame.pts == last:
                break
    assert source.taken <= last + 15  # two queues of four, and the frames in each stage
    assert not threads_left()


def returned(value: Any) -> Callable[[], Any]:
    return lambda: value


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_what_a_thread_between_returns_is_written_in_order(
    count: int, late: bool, depth: int
) -> None:
    """Check functions that return batches, and functions that return functions of the writer."""
    sink = Sink()
    with WriteBehind(sink, depth=depth) as output, Between(output, depth=depth) as between:
        for number in range(count):
            one = batch(number)
            between.put(returned(returned(one) if late else one))
    assert sink.written == list(range(count))


@pytest.mark.parametrize("stage", ["between", "finish", "writer", "last write", "consumer"])
def test_an_error_around_a_thread_between_reaches_the_caller_at_once(stage: str) -> None:
    last, puts = 9, 0

    def finished(number: int) -> Batch:
        if stage == "finish" and number == 5:
            raise BoomError("finish")
        return batch(number)

    def relit(number: int) -> Callable[[], Batch]:
        if stage == "between" and number == 5:
            raise BoomError("between")
        return partial(finished, number)

    sink = Sink(failing_at({"writer": 5, "last write": last}.get(stage)))
    with pytest.raises(BoomError), WriteBehind(sink) as output, Between(output) as between:
        for number in range(100_000):
            if stage == "consumer" and number == 5:
                raise BoomError("consumer")
            between.put(partial(relit, number))
            puts += 1
            if stage == "last write" and number == last:
                break
    assert puts <= last + 15  # two queues, and the batches in each thread
    assert sink.written == list(range(len(sink.written)))
    assert not threads_left()


def test_the_readers_frames_before_its_error_are_delivered() -> None:
    got, source = [], Frames(10, fail_at=4)
    with pytest.raises(BoomError), ReadAhead(source) as ahead:
        assert source.ended.wait(WAIT_SECONDS)
        for frame in ahead:
            got.append(frame.pts)
    assert got == [0, 1, 2, 3]


def test_put_raises_when_the_writer_has_died() -> None:
    with pytest.raises(BoomError), WriteBehind(Sink(failing_at(0)), depth=1) as output:
        output.put(batch(0))
        wait_until(lambda: not threads_left())
        with pytest.raises(BoomError):
            output.put(batch(1))


def test_put_raises_while_it_waits_for_room() -> None:
    full = threading.Event()

    def die(frame: Frame) -> None:
        assert full.wait(WAIT_SECONDS)
        time.sleep(0.1)  # usually put() waits by then
        raise BoomError

    with pytest.raises(BoomError), WriteBehind(Sink(die), depth=1) as output:
        output.put(batch(0))  # the writer takes it
        output.put(batch(1))  # it fills the queue
        full.set()
        with pytest.raises(BoomError):
            output.put(batch(2))


def test_leaving_without_an_exception_writes_the_rest_of_the_queue() -> None:
    go = threading.Event()
    sink = Sink(lambda frame: go.wait(WAIT_SECONDS))
    with WriteBehind(sink, depth=8) as output:
        for number in range(8):
            output.put(batch(number))
        assert sink.written == []
        go.set()
    assert sink.written == list(range(8))


@pytest.mark.parametrize("error", [BoomError, KeyboardInterrupt])
def test_leaving_on_an_exception_drops_the_rest_of_the_queue(error: type[BaseException]) -> None:
    sink = Sink(lambda frame: output._stop.wait(WAIT_SECONDS))
    with pytest.raises(error), WriteBehind(sink, depth=8) as output:
        for number in range(8):
            output.put(batch(number, number))
        raise error
    assert len(sink.written) <= 1  # the frame in the writer


def test_leaving_early_stops_an_endless_source() -> None:
    with ReadAhead(Frames(10**9)) as ahead:
        assert next(iter(ahead)).pts == 0
    assert not threads_left()


def test_the_reader_is_never_more_than_its_depth_ahead() -> None:
    source, most = Frames(100), 1 + 3 + 1  # delivered, queued, and one waiting for room
    with ReadAhead(source, depth=3) as ahead:
        next(iter(ahead))
        wait_until(lambda: source.taken == most)
        time.sleep(0.2)  # it has time for more
        assert source.taken == most


def test_a_generator_is_closed_in_its_own_thread() -> None:
    source = Frames(100)
    with ReadAhead(source, depth=1):
        wait_until(lambda: source.taken)
    assert source.closed_in == ["streamkind-read"]


class Clock:
    """A double of the module's clock. Only `work` advances it, so that waiting takes no time."""

    def __init__(self) -> None:
        self.now, self.looks = 0.0, 0

    def perf_counter(self) -> float:
        self.looks += 1
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(threads, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


def test_waits_of_the_reader_do_not_count_as_work(clock: Clock) -> None:
    def source() -> Iterator[Frame]:
        for frame in Frames(2):
            clock.work(2.0)
            yield frame

    with ReadAhead(source(), depth=1) as ahead:
        wait_until(lambda: clock.looks == 4)  # the first is queued, the second waits for room
        clock.work(100.0)  # the time of the caller
        assert [frame.pts for frame in ahead] == [0, 1]
    assert ahead.seconds == 4.0


def test_waits_of_the_writer_do_not_count_as_work(clock: Clock) -> None:
    with WriteBehind(Sink(lambda frame: clock.work(3.0))) as output:
        for number in range(3):
            output.put(batch(number))
            wait_until(lambda looks=2 * (number + 1): clock.looks == looks)
            clock.work(100.0)  # the time of the caller
    assert output.seconds == 9.0


def test_put_outside_of_with_is_refused() -> None:
    with pytest.raises(RuntimeError, match="outside"):
        WriteBehind(Sink()).put(batch(0))


def test_depth_must_be_positive() -> None:
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        ReadAhead(Frames(1), depth=0)
