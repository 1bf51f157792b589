"""Probes and held connections: start, report, abort. When and why is the core's affair."""
