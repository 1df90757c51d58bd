"""Measures of flicker, sharpness and speed, and their plots."""
