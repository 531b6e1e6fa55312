"""PyTorch layers and networks with binary activation maps, and their integer form."""
