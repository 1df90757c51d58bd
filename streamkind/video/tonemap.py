"""Tone-maps HDR video (HLG, PQ) to SDR: Hable's curve in linear light, and BT.709 primaries.

The result is that of FFmpeg's filters `zscale=t=linear:npl=100,zscale=p=bt709,
tonemap=hable:desat=0,zscale=t=bt709`. FFmpeg's filter lut3d applies it from a table.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from streamkind.errors import InputError
from streamkind.video.format import (
    ColorMatrix,
    ColorPrimaries,
    ColorRange,
    ColorTags,
    ColorTransfer,
)
from streamkind.video.side_data import side_data

HDR_TRANSFERS: dict[int, str] = {ColorTransfer.PQ: "PQ", ColorTransfer.HLG: "HLG"}
SDR = ColorTags(ColorRange.LIMITED, ColorMatrix.BT709, ColorPrimaries.BT709, ColorTransfer.BT709)
"""Tags of tone-mapped video."""
DOLBY_TAGS = ("dvh1", "dvhe", "dva1", "dvav")
"""Codec tags of Dolby Vision in MP4."""
_WHITE_NITS = 100.0
"""Luminance of SDR white, in cd/m2, as in the filters above. ITU-R BT.2408 has 203 for graphics."""
_HLG_NITS, _HLG_GAMMA = 1000.0, 1.2
"""Peak luminance, in cd/m2, and gamma of the reference display of HLG (ITU-R BT.2100, table 5)."""
_USUAL_PEAK = 10.0
"""Assumed brightest light of a video without metadata, in units of SDR white: 1000 cd/m2."""
_TICK = Fraction(1, 1000)
"""Time base of the filter graph, in seconds. Its time stamps are not used."""
_GRID = 65
"""Number of table entries along each of red, green and blue."""
_BT709_OF_BT2020 = np.array(
    [
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ]
)
"""Matrix of linear light from BT.2020 to BT.709 primaries (ITU-R BT.2087)."""
Doubles = NDArray[np.float64]


def is_hdr(tags: ColorTags) -> bool:
    """Return whether a video of these tags is tone-mapped."""
    return tags.transfer in HDR_TRANSFERS


def refuse_dolby(frame: av.VideoFrame, codec_tag: str, tags: ColorTags, path: object) -> None:
    """Raise InputError for Dolby Vision without a base layer in HLG, PQ or SDR (profile 5).

    Its colours (IPT) cannot be converted without its metadata.
    """
    known = {data.type.name for data in side_data(frame)}
    dolby = codec_tag in DOLBY_TAGS or "DOVI_METADATA" in known
    if dolby and tags.transfer == ColorTransfer.UNSPECIFIED:
        raise InputError(
            f"{path}: Dolby Vision without a base layer (profile 5); expected HLG, PQ or SDR."
            " Record in HLG or in profile 8, or convert it with a tool for Dolby Vision"
        )


def tone_note(tags: ColorTags) -> list[str]:
    """Return one message on the tone mapping of a video; none for SDR."""
    if not is_hdr(tags):
        return []
    return [f"HDR video ({HDR_TRANSFERS[tags.transfer]}): tone-mapped, the result is SDR (BT.709)"]


def linear(signal: Doubles, transfer: int) -> Doubles:
    """Convert a BT.2020 signal, (..., 3), 0 to 1, to linear display light, where 1 is SDR white."""
    if transfer == ColorTransfer.PQ:  # SMPTE ST 2084
        root = np.clip(signal, 0, 1) ** (1 / 78.84375)
        light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return np.asarray(10_000 / _WHITE_NITS * light ** (1 / 0.1593017578125))
    a, b, c = 0.17883277, 0.28466892, 0.55991073  # BT.2100, HLG's inverse OETF
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    # The gamma is applied to each channel, as in FFmpeg's zscale. BT.2100 applies it to luma, which
    # gives paler colours.
    return np.asarray(_HLG_NITS / _WHITE_NITS * scene**_HLG_GAMMA)


def _hable(light: Doubles | float) -> Doubles:
    a, b, c, d, e, f = 0.15, 0.5, 0.1, 0.2, 0.02, 0.3
    above, below = light * (light * a + b * c) + d * e, light * (light * a + b) + d * f
    return np.asarray(above / below - e / f)


def tone_mapped(signal: Doubles, transfer: int, peak: float) -> Doubles:
    """Convert an HDR signal in BT.2020 to an SDR signal in BT.709: (..., 3) each, 0 to 1.

    `peak` is the brightest light of the scene, in units of SDR white.
    """
    light = linear(signal, transfer) @ _BT709_OF_BT2020.T
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    light = light * (_hable(brightest) / _hable(peak) / brightest)
    return np.asarray(np.clip(light, 0, 1) ** (1 / 2.4))  # BT.1886


def peak_of(frame: av.VideoFrame) -> float:
    """Return the brightest light by the metadata of a frame, in units of SDR white."""
    data = side_data(frame)
    level, display = data.get("CONTENT_LIGHT_LEVEL"), data.get("MASTERING_DISPLAY_METADATA")
    nits = 0.0
    if level is not None:
        nits = float(np.frombuffer(bytes(level), np.uint32)[0])
    if not nits and display is not None:
        told = np.frombuffer(bytes(display), np.int32)
        if told[21]:  # has_luminance; before it max_luminance, a fraction
            nits = float(told[18]) / max(1.0, float(told[19]))
    return nits / _WHITE_NITS or _USUAL_PEAK


class ToneMapper:
    """Converts HDR RGB frames of 16 bits to SDR. Use it from one thread only."""

    pix_fmt = "gbrp16le"
    """Pixel format of its input and output."""

    def __init__(self, transfer: int, frame: av.VideoFrame) -> None:
        """Make the table for a transfer and for the brightest light by the metadata of a frame."""
        self._table = _table(transfer, peak_of(frame))
        self._graph: Graph | None = None
        self._size = 0, 0

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return a new frame."""
        if self._graph is None or self._size != (frame.width, frame.height):
            self._graph, self._size = self._build(frame), (frame.width, frame.height)
        self._graph.push(frame)
        mapped = self._graph.pull()
        assert isinstance(mapped, av.VideoFrame)
        return mapped

    def _build(self, frame: av.VideoFrame) -> Graph:
        with tempfile.TemporaryDirectory(prefix="streamkind-") as folder:
            path = Path(folder, "hdr.cube")
            path.write_bytes(self._table)
            graph = Graph()
            source = graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=_TICK,
            )
            # A text would end the path at its first colon, such as that of a drive on Windows.
            table = graph.add("lut3d", file=str(path), interp="tetrahedral")
            graph.link_nodes(source, table, graph.add("buffersink")).configure()
        return graph


def _table(transfer: int, peak: float) -> bytes:
    """Return the table as a .cube file. Red varies fastest."""
    steps = np.linspace(0, 1, _GRID)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    mapped = tone_mapped(np.stack([red, green, blue], -1), transfer, peak).reshape(-1, 3)
    lines = "\n".join(map("%.6f %.6f %.6f".__mod__, map(tuple, mapped.tolist())))
    return f"LUT_3D_SIZE {_GRID}\n{lines}\n".encode()
