"""Runs the tasks of a batch on many machines with Ray, which repeats the tasks of a lost node."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from streamkind.backends.process import configure_process
from streamkind.errors import EngineError, UsageError

FOREVER = -1
"""Ray's `max_retries` for any number of retries after lost nodes. Exceptions are not retried."""


class Cluster(Executor):
    """An executor on a Ray cluster. Each task takes one core, or one card if `device` is CUDA.

    `address` is "auto" (the cluster that this machine is part of) or ray://HOST:10001. Raises
    UsageError if Ray is not installed, and EngineError if there is no such cluster.
    """

    def __init__(self, address: str, *, device: str = "auto") -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # otherwise Ray sends usage statistics
        try:
            import ray
        except ImportError as exc:
            raise UsageError(
                f"--cluster {address} needs Ray: pip install 'streamkind[cluster]'"
            ) from exc
        self._ray = ray
        _check_reachable(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as exc:
            raise EngineError(
                f"no Ray cluster at {address} ({exc}); start one with `ray start --head`"
            ) from exc
        demand = {"num_gpus": 1} if device.lower().startswith("cuda") else {"num_cpus": 1}
        self._call = ray.remote(max_retries=FOREVER, **demand)(_call)
        self._unit = "GPU" if "num_gpus" in demand else "CPU"

    @property
    def slots(self) -> int:
        """Number of tasks that the cluster can run at once at present."""
        return max(1, int(self._ray.cluster_resources().get(self._unit, 1)))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function on the cluster."""
        future: Future[Any] = self._call.remote(fn, args, kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Disconnect from the cluster. It drops tasks that have not begun."""
        self._ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise EngineError if no server listens at HOST:PORT. Ray itself would try for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdecimal():
        return  # a name that Ray resolves
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, UnicodeError) as exc:  # UnicodeError: a name with an empty or long part
        why = getattr(exc, "strerror", None) or exc
        raise EngineError(
            f"no Ray cluster at {address} ({why}); check the address, or start "
            "one with `ray start --head`"
        ) from exc


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    configure_process()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a task gets one core
    return fn(*args, **kwargs)
