"""Decoding and encoding on a card: here, where there is none, what is said and done instead."""

import numpy as np
import pytest
from support.media import make_clip, read_video

from streamkind.backends.cards import card_here
from streamkind.errors import InputError
from streamkind.video.sink import VideoSink
from streamkind.video.source import open_source

no_card = pytest.mark.skipif(card_here(), reason="a card is here")


@no_card
def test_without_a_card_frames_are_decoded_in_software_and_it_is_said_once(tmp_path):
    clip = make_clip(tmp_path / "a.mp4", frames=5)
    with open_source(clip) as source:
        expected = [frame.data for frame in source]
    with open_source(clip, hardware=True) as source:
        found = [frame.data for frame in source]
        assert [w for w in source.warnings if "NVDEC" in w] == [
            "decoded in software: NVDEC cannot be used for this file here"
        ]
    np.testing.assert_array_equal(found, expected)


def test_what_cannot_be_opened_is_refused_all_the_same(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"a\.mp4"):
        open_source(tmp_path / "a.mp4", hardware=True)


@no_card
@pytest.mark.parametrize(
    ("codec", "name"),
    [("h264", "h264_nvenc"), ("hevc", "hevc_nvenc"), ("av1", "av1_nvenc")],
)
def test_without_a_card_frames_are_encoded_in_software(tmp_path, codec, name):
    clip = make_clip(tmp_path / "a.mp4", frames=3, size=(256, 160))
    output = tmp_path / "b.mp4"
    with (
        open_source(clip) as source,
        VideoSink(output, source, codec=codec, hardware=True) as sink,
    ):
        for frame in source:
            sink.write(frame)
    assert sink.warnings == [f"encoded in software: {name} cannot be used here"]
    assert len(read_video(output).images) == 3


def test_an_encoder_that_was_named_is_the_one_that_is_taken(tmp_path):
    clip = make_clip(tmp_path / "a.mp4", frames=3)
    with (
        open_source(clip) as source,
        VideoSink(tmp_path / "b.mp4", source, codec="libx264", hardware=True) as sink,
    ):
        for frame in source:
            sink.write(frame)
    assert sink.warnings == []
