"""A page in the browser to choose videos, preview settings, enhance files and play results.

Limits, intervals and sizes without a stated source were chosen by hand.
"""
