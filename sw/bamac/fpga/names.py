"""From cells of a mapped netlist back to the modules and nets of the gateware.

Mapping works on one flat netlist, in which a net has the names of all ports that it passes, and
most cells have none. A net belongs to the module that drives it: the one in which its name is no
input port. A memory keeps its name. Another cell belongs to the module of the net that it drives;
if that net is one of the mapper's own, to the module of the cells behind it (the most frequent).
"""

import re
from collections import Counter

from .resources import cost

__all__ = ["Hierarchy", "Owners"]


class Hierarchy:
    """Instances and input ports of the modules in machine-written Verilog.

    Parameters
    ----------
    verilog : str
    top : str
    """

    _MODULE = re.compile(r"^module \\?(\S+?)\s*\(", re.M)
    _INSTANCE = re.compile(r"^  \\?([\w.$]+) +\\?([\w.$]+) +\($", re.M)
    _INPUT = re.compile(r"^  input (?:signed )?(?:\[[^]]*\] )?\\?(\S+?) ?;", re.M)

    def __init__(self, verilog, top):
        starts = [(found.start(), found[1]) for found in self._MODULE.finditer(verilog)]
        ends = [start for start, _ in starts[1:]] + [len(verilog)]
        bodies = {name: verilog[start:end]
                  for (start, name), end in zip(starts, ends, strict=True)}
        self._inputs = {name: set(self._INPUT.findall(body)) for name, body in bodies.items()}
        self.modules = {}  # path of the instance, such as "scheduler.states", to its module
        todo = [("", top)]
        while todo:
            path, module = todo.pop()
            self.modules[path] = module
            for kind, name in self._INSTANCE.findall(bodies[module]):
                if kind in bodies:
                    todo.append((f"{path}.{name}" if path else name, kind))

    def split(self, name):
        """``(path, wire)`` of a flattened name: the longest path that is an instance."""
        parts = name.split(".")
        for length in range(len(parts) - 1, 0, -1):
            path = ".".join(parts[:length])
            if path in self.modules:
                return path, ".".join(parts[length:])
        return "", name

    def drives(self, name):
        """Whether a flattened name is no input port of its module, nor a field of one."""
        path, wire = self.split(name)
        return wire.split(".")[0] not in self._inputs[self.modules[path]]


class Owners:
    """The module, and our own net, behind each cell of a mapped netlist.

    Parameters
    ----------
    hierarchy : Hierarchy
    flat : dict
        ``netnames`` of the flattened top module before any optimisation, as Yosys' JSON has it.
    netlist : dict
        The mapped top module in the same form.
    """

    def __init__(self, hierarchy, flat, netlist):
        self._hierarchy = hierarchy
        self._cells = netlist["cells"]
        self._named = self._name_bits(flat, netlist["netnames"])
        self._sinks = {}
        for name, cell in self._cells.items():
            for bit in _bits(cell, "input"):
                self._sinks.setdefault(bit, []).append(name)
        self._modules = {}

    def _name_bits(self, flat, mapped):
        """Bit of the mapped netlist to the name of its net in the module that drives it."""
        names = {}
        for name, net in flat.items():
            if "$" not in name and self._hierarchy.drives(name):
                for bit in net["bits"]:
                    names.setdefault(bit, []).append(name)

        def rank(name):
            # The register itself, rather than the wires of the modules around it.
            path, wire = self._hierarchy.split(name)
            return (path == "", -path.count("."), wire.count("."), name)

        best = {bit: min(found, key=rank) for bit, found in names.items()}
        result = {}
        for name, net in mapped.items():
            if name in flat:
                for bit, before in zip(net["bits"], flat[name]["bits"], strict=False):
                    if isinstance(bit, int) and before in best:
                        result[bit] = best[before]
        return result

    def net(self, cell):
        """The name of our own net that a cell drives, or None."""
        for bit in _bits(self._cells[cell], "output"):
            if bit in self._named:
                return self._named[bit]
        return None

    def module(self, cell):
        """Path of the instance that owns a cell; empty for the top module."""
        if cell not in self._modules:
            self._modules[cell] = ""  # ends the search in a loop of unnamed registers
            net = self.net(cell)
            if self._is_memory(cell):
                self._modules[cell] = self._hierarchy.split(cell)[0]
            elif net is not None:
                self._modules[cell] = self._hierarchy.split(net)[0]
            else:
                behind = Counter(self.module(sink)
                                 for bit in _bits(self._cells[cell], "output")
                                 for sink in self._sinks.get(bit, ()))
                if behind:
                    self._modules[cell] = min(behind, key=lambda path: (-behind[path], path))
        return self._modules[cell]

    def _is_memory(self, cell):
        return not {"bram", "spram", "lutram"}.isdisjoint(cost(self._cells[cell]["type"]))

    def label(self, cell):
        """The cell's net, or its module where the net is the mapper's own."""
        if self._is_memory(cell):
            return re.sub(r"(\.\d+)+$", "", cell)
        return self.net(self._register_behind(cell) or cell) or (
            f"{self.module(cell) or '(top)'} (logic)")

    def _register_behind(self, cell):
        """The register that iCE40's packer puts into the cell of this LUT, if there is one."""
        if self._cells[cell]["type"] == "SB_LUT4":
            sinks = [sink for bit in _bits(self._cells[cell], "output")
                     for sink in self._sinks.get(bit, ())]
            if len(sinks) == 1 and self._cells[sinks[0]]["type"].startswith("SB_DFF"):
                return sinks[0]
        return None


def _bits(cell, direction):
    for port, bits in cell["connections"].items():
        if cell["port_directions"].get(port) == direction:
            for bit in bits:
                if isinstance(bit, int):
                    yield bit
