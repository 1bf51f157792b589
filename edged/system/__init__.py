"""What the machine offers: clocks, logs, the journal, the service manager. Decides nothing."""
