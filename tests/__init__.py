"""Tests of edged; each folder below says what is real in it."""
