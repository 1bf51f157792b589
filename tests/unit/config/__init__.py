"""The configuration: reading, checking, comparing."""
