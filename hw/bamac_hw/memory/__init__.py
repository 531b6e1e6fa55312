"""The memories and what fills and reads them: frames, line buffers, weights."""
