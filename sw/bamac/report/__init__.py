"""The HTML report of one result: self-contained, legible in light and in dark."""

from .html import render, write_report

__all__ = ["render", "write_report"]
