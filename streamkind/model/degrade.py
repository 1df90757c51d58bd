"""Degrades pictures as cameras do: sensor noise, 8-bit levels, JPEG, H.264 and HEVC.

Pictures are RGB uint8 (H, W, 3).
"""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]  # (3, 3), of RGB columns

QUALITIES = (22, 38)
"""Range of CRF of x264 and x265, chosen by hand: from the quality of a good dashcam to that of a
surveillance camera with visible blocks in the dark."""
SHOT, READ = (0.02, 0.4), (0.2, 2.0)
"""Ranges of shot noise (variance per 8-bit level of light) and of read noise (standard deviation,
in 8-bit levels). Chosen by hand."""


def recolor(image: Image, color: Matrix) -> Image:
    """Multiply each pixel by a matrix, clip and quantise to 8 bits."""
    return np.clip(image @ color.T.astype(np.float32) + 0.5, 0, 255).astype(np.uint8)


def sensor_noise(image: Image, rng: np.random.Generator) -> Image:
    """Add shot noise, which grows with the light, and read noise, which does not; quantise."""
    shot, read = (np.exp(rng.uniform(*np.log(limits))) for limits in (SHOT, READ))
    sigma = np.sqrt(shot * image + read**2)
    noise = rng.standard_normal(image.shape, np.float32) * sigma.astype(np.float32)
    return np.clip(image + noise + 0.5, 0, 255).astype(np.uint8)


def compress(image: Image, quality: int) -> Image:
    """Encode as JPEG and decode, which adds blocks and halves the size of chroma."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def coded_as_video(frames: list[Image], codec: str, crf: int) -> Image:
    """Encode frames as 4:2:0 video, decode them, and return the last one.

    It is a predicted frame, whose blocks differ from those of a still. `codec` is h264 or hevc.
    """
    height, width = frames[0].shape[:2]
    encoder = av.Codec({"h264": "libx264", "hevc": "libx265"}[codec], "w").create("video")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    encoder.options = {"crf": str(crf), "preset": "ultrafast", "tune": "zerolatency"}
    if codec == "hevc":
        encoder.options |= {"x265-params": "log-level=none:pools=none"}
    decoder = av.Codec(codec, "r").create("video")
    decoder.thread_count = 1
    packets = []
    for i, image in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
        frame.pts = i
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [f for packet in packets for f in decoder.decode(packet)] + decoder.decode(None)
    return np.asarray(decoded[-1].to_ndarray(format="rgb24"), np.uint8)
