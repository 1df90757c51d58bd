"""OpenVINO without its telemetry, which looks up a host of Google's when it is imported.

streamkind imports OpenVINO from here only.
"""

from __future__ import annotations

import sys

# OpenVINO goes on without this package, as without one that is not installed.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

__all__ = ["openvino"]
