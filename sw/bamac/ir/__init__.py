"""The integer network and everything that defines its meaning."""
