"""How well scores agree with labels, at every level of the chain."""
