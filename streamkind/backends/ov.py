"""OpenVINO without its telemetry, which looks up a host of Google when OpenVINO is imported.

streamkind imports OpenVINO from here only.
"""

from __future__ import annotations

import sys

# OpenVINO works without this package. None makes its import fail, as if it were not installed.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

__all__ = ["openvino"]
