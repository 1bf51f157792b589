"""The documents and their words."""
