"""Footage in, footage out: sources, sinks, and the threads that overlap them."""
