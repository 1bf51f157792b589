"""Alerts: rules of texts, outbox and channels; no sockets."""
