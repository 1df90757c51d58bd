"""Figures of results: flicker, sharpness, speed; and their plots."""
