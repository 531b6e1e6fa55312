"""Objects of one type that are known by name, and that packages from outside can add to."""

from __future__ import annotations

from typing import Generic, TypeVar

from bamac.errors import InputError

__all__ = ["Registry"]

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """Items by name, in the order in which they were added.

    Parameters
    ----------
    title : what an item is, in messages: ``"Task"``
    kind : the type of the items
    key : the attribute, a str, that is an item's name
    """

    def __init__(self, title: str, kind: type[Item], key: str = "name") -> None:
        self._title = title
        self._kind = kind
        self._key = key
        self._items: dict[str, Item] = {}

    def add(self, item: Item) -> Item:
        """Make an item known by its name; returns it. An equal item may be added again.

        Raises
        ------
        TypeError
            If ``item`` is of another type, or its name is no str.
        ValueError
            If the name belongs to another item already.
        """
        if not isinstance(item, self._kind) or not isinstance(getattr(item, self._key), str):
            raise TypeError(f"{self._title} must be a {self._kind.__name__} with a {self._key}, "
                            f"not {item!r}")
        name = getattr(item, self._key)
        if self._items.setdefault(name, item) != item:
            raise ValueError(f"{self._title} must have a {self._key} of its own, not {name!r}")
        return item

    def get(self, name: str) -> Item:
        """The item of a name; raises InputError if there is none."""
        if name not in self._items:
            raise InputError(f"{self._title} must be one of {', '.join(self._items)}, "
                             f"not {name!r}")
        return self._items[name]

    def names(self) -> list[str]:
        """Names of all items."""
        return list(self._items)

    def items(self) -> list[Item]:
        """All items."""
        return list(self._items.values())
