"""The gateware: an accelerator for networks with binary activation maps, in Amaranth HDL."""
