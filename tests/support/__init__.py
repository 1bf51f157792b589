"""Fakes, builders and helpers for tests; they are tested themselves."""
