"""Helpers that several test files use: clips, cameras, servers, a browser."""
