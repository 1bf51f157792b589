"""The journal, the service manager and the logs over real sockets."""
