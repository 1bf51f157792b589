"""The command line against sockets, pipes and processes."""
