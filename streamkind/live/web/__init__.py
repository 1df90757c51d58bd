"""The console of live cameras: a page, a REST API, health and metrics."""
