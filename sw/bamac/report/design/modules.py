"""Resources of a design, grouped by the instances of its top module."""

from __future__ import annotations

__all__ = ["by_instance", "largest"]

HERE = "(top)"
OPENED = "datapath"  # its instances are shown: operands, lanes, read-out


def by_instance(modules):
    """Counts by kind of each instance of the top module, with all that is in it.

    The datapath's own instances are listed instead of it.

    ``modules`` is that of :func:`bamac.fpga.implement`: counts by path.
    """
    groups = {}
    for path, counts in modules.items():
        name, *inner = path.split(".")
        name = ".".join([name, *inner[:1]]) if name == OPENED else name or HERE
        group = groups.setdefault(name, {})
        for kind, count in counts.items():
            group[kind] = group.get(kind, 0) + count
    return groups


def largest(groups, most, kind="lut"):
    """The ``most`` groups with the most of ``kind``, and the sum of the others."""
    order = sorted(groups, key=lambda name: -groups[name].get(kind, 0))
    shown = {name: groups[name] for name in order[:most]}
    rest = {}
    for name in order[most:]:
        for key, count in groups[name].items():
            rest[key] = rest.get(key, 0) + count
    return {**shown, **({"others": rest} if rest else {})}
