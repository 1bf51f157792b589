"""The control socket, the status page and the metrics."""
