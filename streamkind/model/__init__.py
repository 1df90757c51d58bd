"""KinD and its training (extra `train`; the only part that needs torch)."""
