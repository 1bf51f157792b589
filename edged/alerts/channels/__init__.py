"""One module a service: how a message is written for it, and what its answer means."""
