"""Alerts on real sockets: services that enforce limits and misbehave."""
