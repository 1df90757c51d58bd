"""The tool that measures latency by a number in each frame. Limits allow for a busy machine."""

from __future__ import annotations

import time

import numpy as np
import pytest
from loopback.scripted import ScriptedCamera
from parts import latency
from support.live import LIMIT_SECONDS, GainEngine, config, wait_for

from streamkind.live.fleet import LiveFleet


@pytest.mark.parametrize("size", [(160, 128), (640, 480), (1280, 720)])
def test_every_number_can_be_read(size):
    for number in (0, 1, 85, 170, latency.COUNT - 1):
        image = latency.numbered(number, *size)
        assert latency.number_in(image) == number
        assert latency.number_in(np.clip(image.astype(int) * 3, 0, 255)) == number


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_pictures_come_out_with_their_numbers_and_not_late(monkeypatch, codec):
    monkeypatch.setattr(latency, "WARM_SECONDS", 1.0)
    with LiveFleet(GainEngine) as fleet:
        late = latency.measure(fleet, (320, 240), 3.0, codec=codec)
    assert len(late) > 50
    assert 0 < np.median(late) < 5


def test_a_player_of_hls_begins_less_than_four_seconds_of_pictures_before_the_present(tmp_path):
    """Count the frames that the camera has sent since the one at which a player begins.

    They are counted whenever a new part appears. A busy machine can only raise this number, so the
    smallest one is checked.
    """
    playlist = tmp_path / "a.m3u8"
    rate, behind = 10, [1000]
    with (
        ScriptedCamera(
            size=(320, 240), rate=rate, gop=rate, count=latency.COUNT, draw=latency.numbered
        ) as camera,
        LiveFleet(GainEngine) as fleet,
    ):
        fleet.put(config(camera, str(playlist)))
        wait_for(lambda: len(latency.parts_of(playlist)) >= 4, "no parts come")
        until = time.monotonic() + LIMIT_SECONDS
        while len(behind) < 5 or (min(behind) >= 4 * rate and time.monotonic() < until):
            known = latency.parts_of(playlist)
            wait_for(lambda known=known: latency.parts_of(playlist) != known, "no new part")
            sent, part = camera.sent, latency.parts_of(playlist)[-latency.PARTS]
            behind.append((sent - 1 - latency.first_number(part)) % latency.COUNT)
    assert 2 * rate < min(behind) < 4 * rate
