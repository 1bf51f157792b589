"""Network namespaces, kernel routes and faults; needs root."""
