"""The pure core: takes facts and the time, returns events and decisions; does no I/O."""
