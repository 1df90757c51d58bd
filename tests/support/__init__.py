"""What tests share: clips, cameras, servers, a browser."""
