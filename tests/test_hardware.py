"""Hardware decoding and encoding: how it is chosen, and software if there is no card."""

import logging
import threading

import av
import numpy as np
import pytest
from av.codec.hwaccel import HWAccel
from support.media import make_clip, read_video

from streamkind.backends.cards import card_here
from streamkind.errors import InputError, UsageError
from streamkind.live.source import Connection, Picture
from streamkind.video import encoders, hardware
from streamkind.video.quality import hardware_quality, quality_options
from streamkind.video.sink import VideoSink
from streamkind.video.source import open_source

no_card = pytest.mark.skipif(card_here(), reason="a card is here")


@no_card
def test_without_a_card_frames_are_decoded_in_software_and_it_is_said_once(tmp_path):
    clip = make_clip(tmp_path / "a.mp4", frames=5)
    with open_source(clip) as source:
        expected = [frame.data for frame in source]
    with open_source(clip, hwaccel="cuda") as source:
        found = [frame.data for frame in source]
        assert [w for w in source.warnings if "software" in w] == [
            "decoded in software: cuda cannot be used here"
        ]
    np.testing.assert_array_equal(found, expected)


def test_unreadable_inputs_are_refused_with_hardware_decoding_too(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"a\.mp4"):
        open_source(tmp_path / "a.mp4", hwaccel="auto")


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


NVIDIA, INTEL, AMD = "h264_nvenc", "h264_qsv", "h264_amf"
LINUX = [NVIDIA, INTEL, AMD, "h264_vaapi", "hevc_nvenc", "hevc_qsv", "libx264", "h264_v4l2m2m"]


@pytest.mark.parametrize(
    ("kind", "known", "there", "found", "failed"),
    [
        ("h264", LINUX, {NVIDIA, INTEL}, NVIDIA, []),
        ("h264", LINUX, {INTEL}, INTEL, [NVIDIA]),
        ("h264", LINUX, {"h264_vaapi"}, "h264_vaapi", [NVIDIA, INTEL, AMD]),
        ("hevc", LINUX, {"hevc_qsv", INTEL}, "hevc_qsv", ["hevc_nvenc"]),
        ("h264", ["h264_videotoolbox", "libx264"], {"h264_videotoolbox"}, "h264_videotoolbox", []),
        ("h264", [AMD, "h264_mf"], {"h264_mf"}, "h264_mf", [AMD]),
        ("av1", LINUX, {NVIDIA}, None, []),
        ("h264", LINUX, set(), None, [NVIDIA, INTEL, AMD, "h264_vaapi"]),
    ],
)
def test_auto_hw_takes_the_first_encoder_that_opens(kind, known, there, found, failed):
    told = hardware.find_hardware_encoder(kind, known, there.__contains__)
    assert told == (found, failed)


@pytest.mark.parametrize(
    ("asked", "kind", "software"),
    [
        ("auto-hw", "h264", "libx264"),
        ("auto-hw:hevc", "hevc", "libx265"),
        ("AUTO-HW", "h264", "libx264"),
    ],
)
@pytest.mark.parametrize("there", [True, False], ids=["hardware", "software"])
def test_auto_hw_says_once_what_encodes(monkeypatch, caplog, asked, kind, software, there):
    encoders._on_hardware.cache_clear()
    caplog.set_level(logging.WARNING)
    known = f"{kind}_nvenc"
    monkeypatch.setattr(av, "codecs_available", {known})
    monkeypatch.setattr(encoders, "_opens", lambda name: there)
    found = {encoders.find_encoder(asked).name for _ in range(3)}
    assert found == {known if there else software}
    expected = (
        f"encoded on hardware: {known}"
        if there
        else (f"encoded in software: no hardware encoder can be used here ({known})")
    )
    assert [record.getMessage() for record in caplog.records] == [expected]
    encoders._on_hardware.cache_clear()


QSCALE = "+qscale"


@pytest.mark.parametrize(
    "name, good, bad",
    [
        (INTEL, ("flags", QSCALE, "global_quality", 118 * 18), ("global_quality", 118 * 40)),
        ("av1_qsv", ("global_quality", 118 * 72), ("global_quality", 118 * 160)),
        (AMD, ("rc", "cqp", "qp_i", 18, "qp_b", 18), ("qp_p", 40)),
        ("h264_videotoolbox", ("flags", QSCALE, "global_quality", 118 * 64), ("flags", QSCALE)),
        ("hevc_videotoolbox", ("global_quality", 118 * 64), ("global_quality", 118 * 20)),
        ("h264_mf", ("rate_control", "quality", "quality", 64), ("quality", 20)),
    ],
)
def test_crf_is_on_the_scale_of_each_hardware_encoder(name, good, bad):
    for crf, told in ((18, good), (40, bad)):
        options = hardware_quality(name, crf, ["qp_i", "qp_p", "qp_b"])
        assert {k: str(v) for k, v in zip(told[::2], told[1::2], strict=True)}.items() <= (
            options.items()
        )


def test_auto_hw_tries_encoders_with_the_options_that_files_get(monkeypatch):
    tried = []
    monkeypatch.setattr(encoders, "choose_pix_fmt", tried.append)
    encoders._opens("libx264")
    assert tried[0].options == quality_options(tried[0].codec, None, None)


@no_card
def test_auto_hw_without_hardware_is_software_for_real(tmp_path, call):
    encoders._on_hardware.cache_clear()
    clip = make_clip(tmp_path / "a.mp4", frames=3)
    words = ("--codec", "auto-hw", "--profile", "realtime", "--one-pass")
    code, _, told = call("enhance", clip, tmp_path / "b.mp4", *words)
    assert code == 0, told
    assert len(read_video(tmp_path / "b.mp4").images) == 3
    encoders._on_hardware.cache_clear()


@pytest.mark.parametrize("codec", ["auto-hw:", "auto-hw:vp9", "autohw"])
def test_a_codec_that_is_no_auto_hw_is_refused(codec):
    with pytest.raises(UsageError, match="no such video encoder"):
        encoders.find_encoder(codec)


ALL = ("cuda", "qsv", "drm", "vaapi", "vulkan")
WINDOWS = ("d3d11va", "d3d12va", "dxva2", "cuda")
HERE = "decoded in software: {} cannot be used here"
NONE = "decoded in software: no hardware decoder can be used here ({})"


@pytest.mark.parametrize(
    ("asked", "known", "there", "found", "note"),
    [
        ("none", ALL, {"cuda"}, None, ""),
        ("auto", ALL, {"cuda", "vaapi"}, "cuda", ""),
        ("auto", ALL, {"vaapi", "vulkan"}, "vaapi", ""),
        ("auto", ALL, {"drm"}, "drm", ""),
        ("auto", ("videotoolbox",), {"videotoolbox"}, "videotoolbox", ""),
        ("auto", WINDOWS, {"d3d11va", "dxva2"}, "d3d11va", ""),
        ("auto", WINDOWS, {"dxva2"}, "dxva2", ""),
        ("auto", ALL, set(), None, NONE.format("cuda, qsv, vaapi, vulkan, drm")),
        ("auto", (), set(), None, NONE.format("FFmpeg knows none")),
        ("vaapi", ALL, {"cuda", "vaapi"}, "vaapi", ""),
        ("qsv", ALL, {"cuda"}, None, HERE.format("qsv")),
        ("videotoolbox", ALL, {"videotoolbox"}, None, HERE.format("videotoolbox")),
    ],
)
def test_the_first_available_hardware_decoder_is_chosen(asked, known, there, found, note):
    assert hardware.find_hwaccel(asked, known, there.__contains__) == (found, note)


@pytest.mark.parametrize("name", ["gpu", "CUDA", "nvdec", ""])
def test_unknown_hardware_is_refused(name):
    with pytest.raises(UsageError, match=r"choose none, auto, .*cuda"):
        hardware.check_hwaccel(name)


@no_card
def test_the_command_says_once_that_software_decodes(tmp_path, call):
    clip = make_clip(tmp_path / "a.mp4", frames=3)
    words = ("--hwaccel", "auto", "--profile", "realtime", "--one-pass")
    code, _, told = call("enhance", clip, tmp_path / "b.mp4", *words)
    assert code == 0, told
    assert " ".join(told.split()).count("no hardware decoder can be used here") == 1


@no_card
def test_a_camera_says_once_that_software_decodes(tmp_path, caplog):
    clip = make_clip(tmp_path / "a.mp4", frames=5)
    url = f"file:{clip}"
    with Connection(
        url, 5.0, threading.Event(), lambda *_: None, lambda *_: "rgb24", hwaccel="cuda"
    ) as camera:
        assert sum(isinstance(item, Picture) for item in camera) == 5
    assert caplog.messages == [f"{url}: decoded in software: cuda cannot be used here"]


def test_a_video_that_the_hardware_cannot_decode_is_reported(monkeypatch, tmp_path):
    # A device without any decoder, so FFmpeg decodes in software.
    accel = HWAccel("drm", allow_software_fallback=True)
    monkeypatch.setattr("streamkind.video.footage.open_hwaccel", lambda _: (accel, ""))
    clip = make_clip(tmp_path / "a.mp4", frames=5)
    with open_source(clip, hwaccel="drm") as source:
        assert len(list(source)) == 5
        told = [warning for warning in source.warnings if "software" in warning]
    assert told == ["decoded in software: the hardware cannot decode this video"]
