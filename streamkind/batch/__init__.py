"""Enhances many files, on one machine or on several. An interrupted batch can be resumed.

Limits and sizes without a stated source were chosen by hand.
"""
