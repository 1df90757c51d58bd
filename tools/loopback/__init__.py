"""What tools and tests stand cameras, servers and a browser up with on this machine alone."""
