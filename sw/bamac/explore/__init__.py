"""Sweeps of geometries and networks through the exact model, with their reports."""

from .points import ExploreError, Point, grid
from .sweep import Store, Task, run

__all__ = ["ExploreError", "Point", "Store", "Task", "grid", "run"]
