"""The backends: one file for each library that runs the networks.

Limits and numbers of cached items without a stated source were chosen by hand.
"""
