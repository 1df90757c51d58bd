"""The metrics for Prometheus, at /metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from streamkind import __version__
from streamkind.live.status import CameraStatus, SinkStatus
from streamkind.live.web.watch import AGE_BUCKETS, Watch

Of = Callable[[CameraStatus], float]
OfSink = Callable[[SinkStatus], float]

COUNTERS: dict[str, tuple[str, Of]] = {
    "streamkind_frames_in": ("Frames decoded.", lambda c: c.frames_in),
    "streamkind_frames_out": ("Frames enhanced and passed to the outputs.", lambda c: c.frames_out),
    "streamkind_frames_dropped": (
        "Frames decoded but not encoded: too old, replaced by newer ones, or failed.",
        lambda c: c.dropped,
    ),
    "streamkind_frames_damaged": (
        "Packets and frames that could not be decoded.",
        lambda c: c.damaged,
    ),
    "streamkind_reconnects": ("Reconnections to a camera.", lambda c: c.reconnects),
}
GAUGES: dict[str, tuple[str, Of]] = {
    "streamkind_ratio": (
        "Ratio by which the light of the last frame was raised.",
        lambda c: c.ratio,
    ),
    "streamkind_queue_frames": ("Frames waiting for the engine or the encoder.", lambda c: c.queue),
}
SINK_COUNTERS: dict[str, tuple[str, OfSink]] = {
    "streamkind_sink_frames": ("Frames written to an output.", lambda s: s.frames),
    "streamkind_sink_dropped": ("Frames not written to an output.", lambda s: s.dropped),
    "streamkind_sink_reconnects": ("Reconnections of an output.", lambda s: s.reconnects),
}


class FleetCollector(Collector):
    """Makes metrics from the state of the fleet, when Prometheus reads them."""

    def __init__(self, watch: Watch, engine: Callable[[], str], wrong: Callable[[], int]) -> None:
        self._watch = watch
        self._wrong = wrong
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of every camera."""
        cameras = self._watch.status()
        yield self._about()
        yield CounterMetricFamily(
            "streamkind_console_wrong_tokens",
            "Requests with a wrong token.",
            value=self._wrong(),
        )
        yield up(cameras)
        for name, (told, of) in COUNTERS.items():
            counter = CounterMetricFamily(name, told, labels=["camera"])
            for camera in cameras:
                counter.add_metric([camera.name], of(camera))
            yield counter
        for name, (told, of) in GAUGES.items():
            gauge = GaugeMetricFamily(name, told, labels=["camera"])
            for camera in cameras:
                gauge.add_metric([camera.name], of(camera))
            yield gauge
        yield stages(cameras)
        yield self._ages(cameras)
        yield from sinks(cameras)

    def _about(self) -> Metric:
        engine = self._engine()
        told = {
            "version": __version__,
            "engine": engine,
            "precision": engine.rpartition(", ")[2],
        }
        return InfoMetricFamily("streamkind_engine", "Version, engine and its precision.", told)

    def _ages(self, cameras: list[CameraStatus]) -> Metric:
        metric = HistogramMetricFamily(
            "streamkind_frame_age_seconds",
            "Age of encoded frames, in seconds since they were decoded; at most 500 per reading.",
            labels=["camera"],
        )
        bounds = [*map(str, AGE_BUCKETS), "+Inf"]
        for camera in cameras:
            ages = self._watch.ages(camera.name)
            buckets = list(zip(bounds, map(float, accumulate(ages.counts)), strict=True))
            metric.add_metric([camera.name], buckets, ages.sum)
        return metric


def up(cameras: list[CameraStatus]) -> Metric:
    """Return which cameras are live, and which are required."""
    metric = GaugeMetricFamily(
        "streamkind_camera_up", "1 while a camera is live, else 0.", labels=["camera", "required"]
    )
    for camera in cameras:
        labels = [camera.name, str(camera.required).lower()]
        metric.add_metric(labels, float(camera.state == "live"))
    return metric


def stages(cameras: list[CameraStatus]) -> Metric:
    """Return the working time of each stage."""
    metric = CounterMetricFamily(
        "streamkind_stage_seconds", "Working time of a stage, seconds.", labels=["camera", "stage"]
    )
    for camera in cameras:
        for stage, seconds in sorted(camera.stages.items()):
            metric.add_metric([camera.name, stage], seconds)
    return metric


def sinks(cameras: list[CameraStatus]) -> Iterator[Metric]:
    """Yield the metrics of each output of each camera."""
    labels = ["camera", "sink"]
    # Two URLs may be equal once their secrets are hidden. Prometheus refuses equal lines.
    known = {(camera.name, sink.url): sink for camera in cameras for sink in camera.sinks}
    down = {(c.name, sink.url) for c in cameras for sink in c.sinks if sink.state != "live"}
    live = GaugeMetricFamily(
        "streamkind_sink_up", "1 while an output is connected, else 0.", labels=labels
    )
    for key in known:
        live.add_metric(key, float(key not in down))
    yield live
    for name, (told, of) in SINK_COUNTERS.items():
        counter = CounterMetricFamily(name, told, labels=labels)
        for key, sink in known.items():
            counter.add_metric(key, of(sink))
        yield counter


def open_registry(
    watch: Watch, engine: Callable[[], str], wrong: Callable[[], int]
) -> CollectorRegistry:
    """Return a registry of the fleet and of this process: memory, descriptors, CPU seconds."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(watch, engine, wrong))
    ProcessCollector(registry=registry)
    return registry
