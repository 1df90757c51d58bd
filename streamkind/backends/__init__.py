"""The devices KinD runs on, one file each."""
