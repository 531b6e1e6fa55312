"""The points of a sweep: every combination of some geometry fields' values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product

from bamac_hw.geometry import Geometry

__all__ = ["MEMORIES", "ExploreError", "Point", "grid", "parse_tile", "parse_vary"]

MEMORIES = ("weight_rows", "input_words", "line_words", "vector_words")
"""Fields that a sweep sets itself: they follow from the network, or from a given array."""


class ExploreError(ValueError):
    """A sweep cannot be run with these arguments."""


@dataclass(frozen=True)
class Point:
    """One array of a sweep, without the sizes of its memories.

    Parameters
    ----------
    values : tuple of (field name, value)
        Fields of :class:`bamac_hw.geometry.Geometry`.
    """

    values: tuple

    def to_dict(self):
        return dict(self.values)

    @property
    def label(self):
        """Short text such as ``2x2x32 event``."""
        values = self.to_dict()
        shape = "x".join(str(values.pop(name)) for name in ("tile_rows", "tile_cols", "channels"))
        return " ".join([shape, *map(str, values.values())])

    def geometry(self, **memories):
        """The array with these memory sizes.

        Raises
        ------
        GeometryError
            If the point's values cannot be built.
        """
        return Geometry("explored", **self.to_dict(), **memories)


def grid(tiles, channels, walks, vary=None):
    """Every combination, in the order of the arguments.

    Parameters
    ----------
    tiles : sequence of (rows, cols)
    channels : sequence of int
    walks : sequence of str
    vary : dict of field name to sequence of values, optional
        Further fields of the geometry, such as ``{"lane": ["gated", "pair"]}``. A field that a
        later version of the geometry has is a dimension without any change here.

    Returns
    -------
    list of Point
    """
    dimensions = {"channels": channels, "walk": walks, **(vary or {})}
    points = []
    for (rows, cols), *values in product(tiles, *dimensions.values()):
        named = dict(zip(dimensions, values, strict=True))
        points.append(Point((("tile_rows", rows), ("tile_cols", cols), *named.items())))
    if len(set(points)) < len(points):
        raise ExploreError("A sweep must name each value of a dimension once")
    return points


def parse_tile(text):
    """``(rows, cols)`` of a text such as ``2x4``."""
    rows, separator, cols = text.partition("x")
    if not (separator and rows.isdecimal() and cols.isdecimal()):
        raise ExploreError(f"Tile must be ROWSxCOLUMNS such as 2x4, not {text!r}")
    return int(rows), int(cols)


def parse_vary(text):
    """``(field, values)`` of a text such as ``acc_bits=20,24``."""
    name, separator, values = text.partition("=")
    known = {f.name: f.type for f in fields(Geometry)
             if f.name not in ("name", "tile_rows", "tile_cols", "channels", "walk", "lane",
                               *MEMORIES)}
    if name not in known or not separator:
        raise ExploreError(f"A dimension must be FIELD=VALUE,VALUE with one of the fields "
                           f"{', '.join(known)}, not {text!r}")
    return name, [_value(known[name], name, value) for value in values.split(",")]


def _value(kind, name, text):
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is int and text.removeprefix("-").isdecimal():
        return int(text)
    if kind is str and text:
        return text
    raise ExploreError(f"Value of {name} must be of type {kind.__name__}, not {text!r}")
