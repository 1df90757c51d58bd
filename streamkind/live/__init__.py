"""Live cameras: in by RTSP and others, out by RTSP and others, for months."""
