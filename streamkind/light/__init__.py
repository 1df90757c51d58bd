"""Chooses the ratios of frames from their statistics, and smooths them over time."""
