"""Check that a result keeps what its source had: python tools/verify.py night.mp4 clear.mp4.

Compares frame count, the time base, every PTS from where each file begins, and every packet of the
other streams byte for byte; then lets Debian's ffprobe read the result. Prints what was compared;
exits 1 on a difference.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av

from streamkind.video.demux import origin_of


def video_times(path: Path) -> tuple[Fraction | None, list[int]]:
    """Time base, and PTS of every frame that can be decoded."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        begin = round(origin_of(container) / stream.time_base)
        return stream.time_base, [frame.pts - begin for frame in container.decode(stream)]


def other_packets(path: Path) -> list[tuple[str, list[tuple[int, str]]]]:
    """Kind of every stream but the first video, with time and digest of its packets."""
    with av.open(str(path)) as container:
        main = container.streams.video[0].index
        found = {s.index: (s.type, []) for s in container.streams if s.index != main}
        for packet in container.demux():
            if packet.size and packet.stream.index != main:
                digest = hashlib.sha256(bytes(packet)).hexdigest()
                begin = round(origin_of(container) / packet.time_base)
                found[packet.stream.index][1].append((packet.pts - begin, digest))
        return list(found.values())


def probe_errors(path: Path) -> str:
    """What ffprobe complains of when it reads every frame."""
    command = ["ffprobe", "-v", "warning", "-count_frames", "-show_streams", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()


def main() -> None:
    """Compare, print, exit."""
    source, result = map(Path, sys.argv[1:3])
    before, after = video_times(source), video_times(result)
    sound_before, sound_after = other_packets(source), other_packets(result)
    packets = sum(len(p) for _, p in sound_before)
    errors = probe_errors(result)
    checks = {
        f"{len(before[1])} frames": len(before[1]) == len(after[1]),
        f"PTS in 1/{before[0] and before[0].denominator} s": before == after,
        f"{packets} packets of {len(sound_before)} other streams": sound_before == sound_after,
        f"ffprobe {errors or 'without complaint'}": not errors,
    }
    told = ", ".join(f"{what} {'ok' if good else 'DIFFER'}" for what, good in checks.items())
    print(f"{result.name}: {told}")
    sys.exit(not all(checks.values()))


if __name__ == "__main__":
    main()
