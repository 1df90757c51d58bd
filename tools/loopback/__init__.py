"""Cameras, servers and a browser on this machine, for tools and tests."""
