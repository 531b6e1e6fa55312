"""The lanes: what is added in a cycle, and how sums are read out."""
