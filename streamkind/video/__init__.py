"""Reads and writes videos and images, and runs both in threads beside the enhancement."""
