"""Clocks, redaction, formats."""
