"""What host, compiler and gateware agree on: descriptors, registers, counters."""
