"""Pure tables: no sockets, no files, no clock."""
