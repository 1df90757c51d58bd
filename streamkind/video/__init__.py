"""Reads and writes videos and images. Both run in threads of their own, beside the engine."""
