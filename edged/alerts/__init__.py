"""Alerts to people: texts, channels, delivery, the dead-man's switch and the canary."""
