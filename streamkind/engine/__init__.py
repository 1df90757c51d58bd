"""Runs the networks on videos of any size: profiles, reduced frames, skipped frames, smoothing.

Constants without a stated source were chosen by hand.
"""
