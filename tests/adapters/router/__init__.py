"""The RouterOS wire over real sockets."""
