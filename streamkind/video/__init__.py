"""Reads and writes videos and images. Both run in threads of their own, beside the engine.

Limits, thresholds and sizes without a stated source were chosen by hand.
"""
