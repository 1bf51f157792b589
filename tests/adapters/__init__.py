"""Real sockets and files on this machine, nothing else."""
