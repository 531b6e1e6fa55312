"""The report of a design: a program on its array, what it costs and how well it scores."""

from .collect import Options, collect
from .sections import design_document

__all__ = ["Options", "collect", "design_document"]
