"""A program's layer table, as the models read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bamac_hw.abi.descriptors import Emit, Source
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program

__all__ = ["LayerRow", "layer_rows", "stride_of"]

_SOURCES: dict[str, Source] = {member.name.lower(): member for member in iter(Source)}
_EMITS: dict[str, Emit] = {member.name.lower(): member for member in iter(Emit)}


@dataclass(frozen=True)
class LayerRow:
    """One layer's loop bounds, see :class:`bamac.compiler.walk.Walk`.

    ``rows`` and ``in_cols`` are of the input map, ``fetches`` the further window fetches of a tile
    where a stride meets one bank, ``weight_rows`` rows of the weight store from ``weight_base``
    on, and ``mask_rows`` those of the masks in front of them.
    """

    index: int
    name: str
    source: Source
    emit: Emit
    rows: int
    in_cols: int
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, int]
    padding: tuple[int, ...]
    planes: int
    out_rows: int
    out_cols: int
    jobs: int
    passes: int
    tiles: int
    steps: int
    words: int
    rounds: int
    fetches: int
    rows_per_pass: int
    span: int
    advance: int
    block_rows: int
    shift: int
    weight_rows: int
    weight_base: int
    mask_rows: int
    depthwise: bool

    @classmethod
    def of(cls, row: dict[str, Any]) -> LayerRow:
        """From a row of the manifest."""
        names = set(cls.__dataclass_fields__) - {
            "rows", "source", "emit", "kernel", "stride", "padding", "mask_rows",
            "depthwise"}
        return cls(rows=row["in_rows"], source=_SOURCES[row["source"]],
                   emit=_EMITS[row["emit"]], kernel=tuple(row["kernel"]), stride=stride_of(row),
                   padding=tuple(row["padding"]), mask_rows=row.get("mask_rows", 0),
                   depthwise=row.get("depthwise", False),
                   **{name: row[name] for name in names})

    def out_words(self, geometry: Geometry) -> int:
        """Words of the line buffers for each pixel that the layer puts out."""
        return -(-self.out_channels // int(geometry.word_channels))

    @property
    def reads_map(self) -> bool:
        return bool(self.source != Source.VECTOR)


def stride_of(row: dict[str, Any]) -> tuple[int, int]:
    """(rows, cols) of a stride in the manifest, where one number stands for both."""
    stride = row["stride"]
    if isinstance(stride, int):
        return stride, stride
    rows, cols = stride
    return rows, cols


def layer_rows(program: Program) -> list[LayerRow]:
    """Every layer of the program, in execution order."""
    return [LayerRow.of(row) for row in program.layers]
