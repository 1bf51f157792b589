"""The router's API: reads, one write at a time, reads back."""
