"""The RouterOS simulator on real sockets: shapes, strictness, wire, faults."""
