"""The training tool, and templates of recipes whose training takes seconds."""

from __future__ import annotations

from support.tools import load_tool

train = load_tool("train")

RECIPE = """
name = "tiny"
preset = "{preset}"
data = "{data}"
held_out = 2
validate_every = 100
validation_pairs = 2
checkpoint_minutes = {minutes}
gate_after = {gate_after}

[augment]
exposure_stops = 1.0
white_balance = 0.1
jpeg = 0.2
identity = 0.1
flat = 0.1
"""
STAGE = """
[[stage]]
name = "{name}"
steps = {steps}
batch = 2
patch = 32
learning_rate = {rate}
"""
