"""The backends: one file for each library that runs the networks."""
