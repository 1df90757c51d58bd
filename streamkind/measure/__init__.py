"""Measures of flicker, sharpness and speed, and their plots.

Constants without a stated source were chosen by hand.
"""
