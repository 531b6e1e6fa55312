"""What our exported files carry beside the graph, in ONNX' metadata: names and exact floats.

The graph alone decides every integer. The metadata brings back what it cannot hold: the layers'
names, bits and shift of layers that do not use them, the front end, and scale and offset of the
score as they were before rounding to float32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bamac.ir.network import Dense, FrontEnd, GraphError, IntegerNetwork

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["KEY", "SCHEMA", "LayerMetadata", "Metadata", "read", "written"]

KEY = "bamac.network"
SCHEMA = 1


@dataclass(frozen=True)
class LayerMetadata:
    """A layer's name; of a dense layer also its bits and shift, else None."""

    name: str
    shifted: tuple[int, int] | None = None

    @property
    def kind(self) -> str:
        """As :attr:`bamac.qonnx.state.LayerDraft.kind`."""
        return "conv" if self.shifted is None else "dense"


@dataclass(frozen=True)
class Metadata:
    """The metadata of one file; fields as in :class:`bamac.ir.network.IntegerNetwork`."""

    name: str
    layers: tuple[LayerMetadata, ...]
    score_scale: float
    score_offset: float
    front_end: FrontEnd


def written(network: IntegerNetwork) -> str:
    """The metadata of ``network`` as JSON, keys sorted."""
    front_end = network.front_end
    return json.dumps({
        "schema": SCHEMA,
        "name": network.name,
        # Of a layer that does not emit unsigned integers, bits and shift say nothing; they are
        # carried so that a network read back equals the one written in every field
        "layers": [{"name": layer.name, "bits": layer.bits, "shift": layer.shift}
                   if isinstance(layer, Dense) else {"name": layer.name}
                   for layer in network.layers],
        "score_scale": network.score_scale,
        "score_offset": network.score_offset,
        "front_end": {"kind": front_end.kind, "offset": front_end.offset,
                      "steps": front_end.steps},
    }, sort_keys=True)


def read(model: ModelProto) -> Metadata | None:
    """The metadata of ``model``, or None if the file is not ours.

    Raises
    ------
    GraphError
        If it is of another schema, or damaged.
    """
    for prop in model.metadata_props:
        if prop.key == KEY:
            try:
                return _parsed(prop.value)
            except GraphError:
                raise
            except (ValueError, TypeError, KeyError) as error:
                raise GraphError(f"Metadata {KEY!r} is damaged: {error}") from error
    return None


def _parsed(text: str) -> Metadata:
    values = json.loads(text)
    if values["schema"] != SCHEMA:
        raise GraphError(f"Metadata schema must be {SCHEMA}, not {values['schema']!r}")
    layers = tuple(LayerMetadata(str(entry["name"]), (int(entry["bits"]), int(entry["shift"]))
                                 if len(entry) > 1 else None) for entry in values["layers"])
    return Metadata(str(values["name"]), layers, float(values["score_scale"]),
                    float(values["score_offset"]), FrontEnd(**values["front_end"]))
