"""Probes against real listeners."""
