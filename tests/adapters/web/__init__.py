"""The control socket, the page and the metrics over real sockets."""
