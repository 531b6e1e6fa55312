"""The form of the interfaces between blocks: signatures whose widths follow from a geometry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.lib import wiring
from amaranth.lib.wiring import Member

__all__ = ["SizedSignature"]


class SizedSignature(wiring.Signature):
    """Base of the documented interfaces between blocks.

    A subclass gives its members in :meth:`sizes` and describes them in its docstring, as the
    driving block sees them. Two signatures are equal if they are of one class and geometry.

    Parameters
    ----------
    geometry : Geometry
    """

    def __init__(self, geometry: Any):
        self._geometry = geometry
        super().__init__(self.sizes(geometry))

    @classmethod
    def sizes(cls, geometry: Any) -> Mapping[str, Member]:
        """The members for a geometry."""
        raise NotImplementedError(f"{cls.__name__} must give its members")

    @property
    def geometry(self) -> Any:
        """What the widths follow from."""
        return self._geometry

    def create(self, *, path: tuple[str, ...] | None = None,
               src_loc_at: int = 0) -> wiring.PureInterface:
        """An interface object with these members."""
        return wiring.PureInterface(self, path=path, src_loc_at=1 + src_loc_at)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._geometry == other._geometry

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._geometry!r})"
