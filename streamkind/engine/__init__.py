"""What stands around the nets: any picture size, reduced pictures, skipped frames, profiles."""
