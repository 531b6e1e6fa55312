"""Sounds that are enough like speech for PESQ to find utterances in them."""

import numpy as np

RATE = 16_000


def speech(rng, seconds):
    """Harmonic syllables with pauses, float64, at least that many seconds."""
    parts = []
    while sum(p.size for p in parts) < seconds * RATE:
        t = np.arange(int(rng.uniform(0.15, 0.4) * RATE)) / RATE
        pitch = rng.uniform(90, 240)
        tone = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 20))
        parts += [0.2 * tone * np.hanning(t.size), np.zeros(int(rng.uniform(0.05, 0.2) * RATE))]
    return np.concatenate(parts) + 1e-5 * rng.standard_normal(sum(p.size for p in parts))
