"""From the statistics of frames to the ratios that they are relit by."""
