"""KinD's networks and their training, which need torch (extra `train`); `released.py` does not."""
