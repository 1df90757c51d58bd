"""Enhances many files, on one machine or on several. An interrupted batch can be resumed."""
