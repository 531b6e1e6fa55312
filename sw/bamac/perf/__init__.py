"""Exact models of the hardware's counters, and energy estimates from them."""
