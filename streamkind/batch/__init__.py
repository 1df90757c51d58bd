"""Enhances many files, on one machine or many. An interrupted batch can be resumed."""
