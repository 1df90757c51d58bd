"""The parts of tools/figures.py. Each part measures something, and returns tables."""
