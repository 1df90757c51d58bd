"""A page in the browser to choose videos, preview settings, enhance files and play results."""
