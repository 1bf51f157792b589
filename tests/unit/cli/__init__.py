"""Screens, options and exit codes."""
