"""The core in a seeded world with virtual time."""
