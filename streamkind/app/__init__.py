"""A page in the browser for files: choose, preview, run, play."""
