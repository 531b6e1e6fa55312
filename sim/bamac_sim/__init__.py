"""Simulation of the gateware: builds, testbench pieces, and runs as plain Python calls."""
