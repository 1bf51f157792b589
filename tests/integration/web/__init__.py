"""The page in a real browser, and what Prometheus says of the metrics."""
