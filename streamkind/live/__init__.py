"""Live cameras: reads, enhances and publishes their streams without end."""
