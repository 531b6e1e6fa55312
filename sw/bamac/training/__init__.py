"""Training: one loop, and the recipes on it."""
