"""Probes against a real Envoy and a real kernel's routes."""
