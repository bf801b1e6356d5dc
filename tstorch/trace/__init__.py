"""What was measured: the trace's schema, reading and writing it, joining it to nodes."""
