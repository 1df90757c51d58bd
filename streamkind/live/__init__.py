"""Live cameras: reads, enhances and publishes their streams without end.

Limits, thresholds and times without a stated source were chosen by hand.
"""
