"""Offline jobs: many files, resumed after any kill, on one machine or many."""
