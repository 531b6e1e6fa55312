"""Front ends: from audio to a network's integer frames."""
