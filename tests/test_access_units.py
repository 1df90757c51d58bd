"""Pictures that are joined from the payloads of RTP packets, as different cameras send them."""

from __future__ import annotations

import pytest

from streamkind.live.access_units import AccessUnits

MTU = 1200
START = b"\0\0\0\1"
TICKS = 3600
"""Ticks of 1/90000 s between two pictures, at 25 frames per second."""
HEADS = {
    "h264": {"key": b"\x65", "p": b"\x41", "sps": b"\x67", "aud": b"\x09", "filler": b"\x0c"},
    "hevc": {
        "key": b"\x26\1",
        "p": b"\x02\1",
        "sps": b"\x42\1",
        "aud": b"\x46\1",
        "filler": b"\x4c\1",
    },
}


def unit(codec, kind, size, first=True, number=0):
    """Return a NAL unit whose body has `size` bytes.

    `first`: whether a slice is the first one of its picture.
    """
    body = (b"\x88" if first else b"\x44") + bytes([32 + number]) * (size - 1)
    return HEADS[codec][kind] + body


def cut(codec, units, mtu=MTU, even=False):
    """Cut NAL units as a camera does; return the payloads as FFmpeg gives them."""
    payloads = []
    for one in units:
        head, body = one[: len(HEADS[codec]["p"])], one[len(HEADS[codec]["p"]) :]
        if len(body) <= mtu:
            payloads.append(START + one)
            continue
        most = -(-len(body) // -(-len(body) // mtu)) if even else mtu
        parts = [body[i : i + most] for i in range(0, len(body), most)]
        payloads += [START + head + parts[0], *parts[1:]]
    return payloads


def picture(codec, number, *, gop=10, slices=1, key_slices=None, size=300, key_size=5000):
    """Return the NAL units of picture `number`."""
    is_key = number % gop == 0
    count = (key_slices or slices) if is_key else slices
    body = (key_size if is_key else size) + 7 * (number % 5)
    kind = "key" if is_key else "p"
    own = [unit(codec, kind, body, first=i == 0, number=number) for i in range(count)]
    return ([unit(codec, "sps", 20)] if is_key else []) + own


def play(codec, pictures, **cutting):
    """Feed pictures; return the access units that each one completed, and the `AccessUnits`."""
    joined, found = AccessUnits(codec), []
    for number, units in enumerate(pictures):
        came = []
        for payload in cut(codec, units, **cutting):
            came += joined.feed(payload, number * TICKS)
        found.append(came)
    found.append(joined.finish())
    return found, joined


def whole(units):
    return b"".join(START + one for one in units)


def content(data):
    """Return bytes without the zeros before start codes, which may belong to either NAL unit."""
    return data.replace(START, START[1:]).strip(b"\0")


KINDS = {
    "one slice": ({}, {}),
    "small pictures": ({"key_size": 700}, {}),
    "large pictures": ({"size": 4000}, {}),
    "four slices": ({"slices": 4, "size": 900}, {}),
    "large slices": ({"slices": 3, "size": 2500}, {}),
}
LATE = {
    "more slices in keyframes": ({"key_slices": 3}, {}),
    "parts of equal size": ({"size": 1500}, {"even": True}),
}


@pytest.mark.parametrize("codec", HEADS)
@pytest.mark.parametrize("kind", KINDS | LATE)
def test_all_pictures_come_out_whole_and_in_order(codec, kind):
    made, cutting = (KINDS | LATE)[kind]
    pictures = [picture(codec, n, **made) for n in range(100)]
    found, joined = play(codec, pictures, **cutting)
    flat = [one for came in found for one in came]
    assert [content(one.data) for one in flat] == [content(whole(p)) for p in pictures]
    assert [one.pts for one in flat] == [n * TICKS for n in range(100)]
    assert [one.is_keyframe for one in flat] == [n % 10 == 0 for n in range(100)]
    assert joined.early == (kind in KINDS)
    # The last ones are complete with their own packets, or with those of the next picture.
    at = [number for number, came in enumerate(found) for _ in came]
    assert at[-10:] == list(range(90, 100) if kind in KINDS else range(91, 101))


@pytest.mark.parametrize("codec", HEADS)
def test_nothing_is_early_before_the_rule_has_held_for_some_time(codec):
    found, _ = play(codec, [picture(codec, n) for n in range(50)])
    assert [len(came) for came in found[:-1]] == [0] + [1] * 49


@pytest.mark.parametrize("codec", HEADS)
@pytest.mark.parametrize("change", [{"slices": 2}, {"size": 5000, "slices": 3}], ids=str)
def test_a_camera_that_changes_costs_one_picture_at_most(codec, change):
    pictures = [picture(codec, n, **(change if n >= 75 else {})) for n in range(150)]
    found, joined = play(codec, pictures)
    flat = [one for came in found for one in came]
    wrong = [one for one in flat if content(one.data) not in {content(whole(p)) for p in pictures}]
    assert len(wrong) == 1 and not joined.early
    right = [content(one.data) for one in flat if one not in wrong]
    assert right == [content(whole(p)) for p in pictures]  # the failed one is returned again, whole


@pytest.mark.parametrize("codec", HEADS)
def test_what_stands_behind_the_last_slice_is_no_failure(codec):
    pictures = [[*picture(codec, n), unit(codec, "filler", 50)] for n in range(100)]
    found, joined = play(codec, pictures)
    assert joined.early and [len(came) for came in found[-11:]] == [1] * 10 + [0]


@pytest.mark.parametrize("codec", HEADS)
@pytest.mark.parametrize("lost", ["first", "middle", "last", "all"])
def test_a_lost_packet_takes_no_other_picture_with_it(codec, lost):
    pictures = [picture(codec, n, size=4000) for n in range(120)]
    joined, found = AccessUnits(codec), []
    for number, units in enumerate(pictures):
        payloads = cut(codec, units)
        if number == 95:
            gone = {"first": 0, "middle": 1, "last": len(payloads) - 1}
            payloads = [] if lost == "all" else payloads
            if lost in gone:
                del payloads[gone[lost]]
        for payload in payloads:
            found += joined.feed(payload, number * TICKS)
    found += joined.finish()
    right = [content(whole(p)) for n, p in enumerate(pictures) if n != 95]
    assert [content(one.data) for one in found if one.pts != 95 * TICKS] == right
    assert joined.early


@pytest.mark.parametrize("codec", HEADS)
def test_one_payload_may_hold_several_units_and_a_report_may_move_the_clock(codec):
    joined, found = AccessUnits(codec), []
    for number in range(100):
        aud, own = unit(codec, "aud", 1), picture(codec, number, gop=10**6)
        for place, payload in enumerate(
            [whole([aud, *own[-1:]]), whole([unit(codec, "filler", 9)])]
        ):
            found += joined.feed(payload, number * TICKS + place)  # the pts differ by one tick
    assert len(found) == 99 and {one.pts % TICKS for one in found} == {0}
    one, aud, other = (unit(codec, kind, 300) for kind in ("p", "aud", "p"))
    found = AccessUnits(codec).feed(whole([one, aud, other]), 0)
    assert [content(each.data) for each in found] == [content(whole([one, aud]))]


@pytest.mark.parametrize("codec", HEADS)
def test_parameter_sets_between_slices_do_not_end_a_picture(codec):
    sets = unit(codec, "sps", 20)
    pictures = [[sets, *(x for p in picture(codec, n, slices=3) for x in (p, sets))]
                for n in range(100)]  # fmt: skip
    found, joined = play(codec, pictures)
    flat = [one for came in found for one in came]
    assert joined.early and len(flat) == 100
    assert content(b"".join(one.data for one in flat)) in content(b"".join(map(whole, pictures)))


@pytest.mark.parametrize("codec", HEADS)
def test_parameter_sets_are_kept_if_the_clock_stands(codec):
    joined, found = AccessUnits(codec), []
    for number in range(100):
        for payload in cut(codec, picture(codec, number)):
            found += joined.feed(payload, 0)
    found += joined.finish()
    assert joined.early and len(found) == 100
    sent = b"".join(whole(picture(codec, n)) for n in range(100))
    assert b"".join(one.data for one in found).replace(b"\0", b"") == sent.replace(b"\0", b"")
