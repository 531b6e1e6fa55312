"""Training data from recorded speech that packages carry: sources, degradations, labels."""
