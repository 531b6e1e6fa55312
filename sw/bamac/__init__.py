"""BAMAC: networks with binary activation maps, from PyTorch to FPGA hardware, bit for bit.

The main calls are here; everything else is in the modules. Nothing heavy is imported before it
is used::

    import bamac

    result = bamac.run("speech.wav")            # score on the simulated hardware
    network = bamac.load_model("net.onnx")      # QONNX or checkpoint -> integer network
    trace = bamac.run_reference(network, frames)
    program = bamac.compile_network(network, bamac.Geometry.preset("small"))
"""

from importlib import import_module
from typing import Any

_LAZY = {
    "Geometry": ("bamac_hw.geometry", "Geometry"),
    "GraphError": ("bamac.ir.network", "GraphError"),
    "IntegerNetwork": ("bamac.ir.network", "IntegerNetwork"),
    "Program": ("bamac_hw.program", "Program"),
    "compile_network": ("bamac.compiler", "compile_network"),
    "export_qonnx": ("bamac.qonnx.exporter", "export"),
    "first_divergence": ("bamac.ir.trace", "first_divergence"),
    "load_model": ("bamac.load", "load_model"),
    "load_qonnx": ("bamac.qonnx.importer", "load"),
    "predict": ("bamac.perf.cycles", "predict"),
    "run": ("bamac.result", "run"),
    "run_reference": ("bamac.ir.reference", "run"),
    "write_report": ("bamac.report", "write_report"),
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bamac' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
