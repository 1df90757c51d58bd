"""The parts of tools/figures.py: each measures, and returns tables."""
