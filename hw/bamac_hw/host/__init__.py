"""The host's side of the accelerator: bus ports and registers."""
