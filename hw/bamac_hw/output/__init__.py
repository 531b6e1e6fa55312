"""From sums to the next layer's input, or to the score stream."""
