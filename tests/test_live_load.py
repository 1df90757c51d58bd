"""Overload of the engine: the delay is bounded, drops are counted, cameras get equal shares."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.live import (
    GainEngine,
    Stalls,
    camera_server,
    config,
    moving_picture,
    open_things,
    wait_for_state,
)

from streamkind.cli.live import open_fleet
from streamkind.live.fleet import LiveFleet
from streamkind.live.frame_queue import FrameQueue, WaitingFrame
from streamkind.live.load import FULL_WAIT, WAIT, Load

ALONE = [pytest.mark.slow, pytest.mark.alone]
LIMIT = 0.5
"""Largest allowed delay, in seconds."""


PERIOD = 0.04
"""Interval between simulated frames, in seconds."""
FIRST = 1.5
"""Time of the simulated engine for the first frame, in seconds. It includes compiling."""


def served(costs: list[float], stalls: tuple[int, ...] = (), count: int = 1000) -> np.ndarray:
    """Return number and wait, in seconds, of each frame that a simulated engine takes, (N, 2).

    A frame takes the next of `costs`, in seconds. For each frame in `stalls`, the machine stalls
    for one second more.
    """
    queue, load, taken = FrameQueue(count), Load(), []
    pixels = np.zeros((2, 2, 3), np.uint8)
    now, came = 0.0, 0
    while came < count or len(queue):
        if not len(queue):
            now = max(now, came * PERIOD)
        while came < count and came * PERIOD <= now:
            queue.put(WaitingFrame(pixels, float(came), came * PERIOD))
            came += 1
        dropped = queue.dropped
        frame = queue.take(now - load.longest_wait(now) * queue.interval)
        assert frame is not None
        cost = costs[len(taken) % len(costs)] if taken else FIRST
        cost += 1.0 * (len(taken) in stalls)
        taken.append((frame.seconds, now - frame.decoded))
        load.note(now, now + cost, 1, queue.dropped - dropped)
        now += cost
    return np.array(taken)


@pytest.mark.parametrize(
    ("costs", "kept", "gap"),
    [
        pytest.param([0.005], 1.0, 1, id="fast"),
        pytest.param([0.036], 1.0, 1, id="just fast enough"),
        pytest.param([0.086, 0.012, 0.012], 1.0, 1, id="fast enough but for every third"),
        pytest.param([0.042], 0.93, 2, id="hardly too slow"),
        pytest.param([0.06], 0.65, 2, id="too slow"),
        pytest.param([0.11, 0.03, 0.03], 0.65, 3, id="too slow, every third above all"),
        pytest.param([0.19], 0.2, 5, id="far too slow"),
    ],
)
def test_a_backlog_is_dropped_and_drops_are_evenly_spaced(costs, kept, gap):
    numbers, waits = served(costs).T
    begun = numbers > (FIRST + 2) / PERIOD
    assert waits[begun].max() <= max(FULL_WAIT * PERIOD, max(costs) - PERIOD) + 1e-6
    assert begun.sum() >= kept * (1000 - (FIRST + 2) / PERIOD) - 1
    assert np.diff(numbers[begun]).max() <= gap


def test_the_delay_after_a_stall_ends_at_once():
    stalls = (200, 400, 600)
    numbers, waits = served([0.036], stalls).T
    assert waits[200:].max() <= FULL_WAIT * PERIOD + 1e-6
    assert 1000 - len(numbers) <= (len(stalls) * 1.0 + FIRST) / PERIOD + 8


def test_frames_that_a_network_held_back_come_through():
    """Check that frames that arrive together may wait longer, if the engine is not overloaded."""
    load = Load()
    for began in np.arange(0, 2, PERIOD):
        load.note(began, began + 0.01, 1, 0)
    assert load.longest_wait(2.0) == WAIT
    assert Load().longest_wait(2.0) == WAIT


def test_a_frame_queue_measures_the_interval_of_its_frames():
    queue = FrameQueue(3)
    assert queue.interval == 0.0
    for time_of in (5.0, 5.1, 5.4):
        queue.put(WaitingFrame(np.zeros((2, 2, 3), np.uint8), 0.0, time_of))
    assert queue.interval == pytest.approx(0.2)


def watch(fleet: LiveFleet, names: list[str], seconds: float) -> dict[str, list[float]]:
    """Return all delays of each camera during `seconds`, in seconds."""
    fleet.status()  # discards the delays until now
    ages: dict[str, list[float]] = {name: [] for name in names}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.5)
        for camera in fleet.status():
            ages[camera.name] += camera.ages
    return ages


@pytest.mark.parametrize(
    ("cameras", "rate", "seconds"),
    [
        pytest.param(1, 15, 8, id="one camera", marks=ALONE),
        pytest.param(8, 6, 30, id="eight cameras", marks=ALONE),
    ],
)
def test_an_engine_at_a_third_of_the_rate(tmp_path, cameras, rate, seconds):
    names = [f"camera-{i}" for i in range(cameras)]
    pace = 3 / (rate * cameras)
    with (
        # Small frames, so that nearly all time of the engine is the `seconds` that it sleeps.
        camera_server(tmp_path, moving_picture(160, 128, rate)) as server,
        LiveFleet(lambda: GainEngine(seconds=pace, max_batch=1)) as fleet,
    ):
        for name in names:
            fleet.put(config(server, str(tmp_path / name), name=name, max_delay_seconds=LIMIT))
            # One by one, because gst-rtsp-server may abort if clients join at once.
            wait_for_state(fleet, "live", name)
        time.sleep(3)  # until files are open, and the load is measured
        before, things = {c.name: c for c in fleet.look()}, open_things()
        with Stalls() as stalls:
            ages = watch(fleet, names, seconds)
        after = {c.name: c for c in fleet.look()}
        assert all(now <= then for now, then in zip(open_things(), things, strict=True))
    shares = []
    for name in names:
        a, b = before[name], after[name]
        came, out = b.frames_in - a.frames_in, b.frames_out - a.frames_out
        dropped = b.dropped - a.dropped
        assert came >= 0.9 * rate * seconds
        assert abs(came - out - dropped) <= 10  # all are counted; a few are still in queues
        assert dropped > came / 3
        assert b.queue <= LIMIT * rate + 2
        shares.append(out)
        assert len(ages[name]) >= 0.9 * out
    assert max(np.concatenate(list(ages.values()))) < LIMIT + stalls.most
    assert max(shares) - min(shares) <= 0.1 * np.mean(shares)
    assert sum(shares) >= 0.6 * seconds / pace


@pytest.mark.slow
@pytest.mark.alone
def test_720p_at_25_drops_frames_only_while_the_engine_is_busy(tmp_path):
    """Check the engine of the command. The camera and its encoder run on the same cores.

    A fast machine holds every frame. On a slow one the engine must work all the time, and the
    delay must stay near the time that the engine takes for a frame.
    """
    seconds, rate = 10, 25
    with (
        camera_server(tmp_path, moving_picture(1280, 720, rate)) as server,
        open_fleet("realtime") as fleet,
    ):
        fleet.put(config(server, str(tmp_path / "out"), name="yard", max_delay_seconds=LIMIT))
        wait_for_state(fleet, "live")
        time.sleep(5)  # until the network is compiled
        before, began = fleet.look()[0], time.monotonic()
        with Stalls() as stalls:
            ages = watch(fleet, ["yard"], seconds)["yard"]
        after, took = fleet.look()[0], time.monotonic() - began
    came, out = after.frames_in - before.frames_in, after.frames_out - before.frames_out
    busy = sum(after.stages[s] - before.stages[s] for s in ("decompose", "recompose"))
    assert came >= 0.95 * rate * seconds
    assert abs(came - out - (after.dropped - before.dropped)) <= 10
    assert out >= 0.95 * came or busy >= 0.8 * took
    assert np.median(ages) < 0.1 + 3 * busy / out and max(ages) < LIMIT + stalls.most
