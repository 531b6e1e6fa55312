"""Every size of the hardware, in one frozen, validated place."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .abi.descriptors import KERNEL_MOST
from .abi.registers import address_bits, weight_window
from .traits import INPUT_BITS, VECTOR_BITS, DatapathTraits, lanes, traits_of, walks

__all__ = ["Geometry", "GeometryError"]


class GeometryError(ValueError):
    """A hardware geometry that cannot be built."""


def _check_int(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise GeometryError(f"{name} must be an integer, not {value!r}")
    if not low <= value <= high:
        raise GeometryError(f"{name} must be in {low}..{high}, not {value!r}")


def _check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    if isinstance(value, bool) or value not in choices:
        raise GeometryError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")


# Options that are on or off, and all options: left out of an array's description where they have
# their default.
_SWITCHES = ("map_head", "axis_strides", "zero_rows", "depthwise", "zero_points", "interleaved")
_OPTIONS = (*_SWITCHES, "kernel_most")


@dataclass(frozen=True)
class Geometry:
    """Sizes of one accelerator.

    Parameters
    ----------
    name : str
        Shown in reports and file names.
    tile_rows, tile_cols : 1, 2 or 4
        Output pixels computed at once. The activation memories have one bank for each.
    channels : 4, 8, 16, 32 or 64
        Output channels computed at once: int8 weights per row of the weight store, and bits per
        word of the line buffers.
    acc_bits : 16..32
        Bits of an accumulator. The compiler proves that no sum can leave it.
    weight_rows : int
        Rows of ``channels`` int8 weights; start values live there too.
    input_words, line_words : int
        Words per bank of the input buffer (8 bits each) and of the line buffers (``channels``
        bits each: as many channels of a pixel, or an eighth with int8 lanes).
    vector_words : int
        16-bit words for the vectors of the head (24-bit words with int8 lanes).
    max_layers : int
        Layers that the descriptor memory can hold.
    counters : bool
        Whether the performance counters are built. They never change the timing.
    walk : "dense", "event" or a registered one
        ``dense`` offers every weight row to the lanes; ``event`` only those for which any pixel of
        the tile has a 1 (see :mod:`bamac_hw.control.event_walker`). Results and programs are alike,
        cycles and weight reads are not.
    lane : "gated", "pair", "int8", "int8_dsp" or a registered one
        What a lane does with activation bits: ``gated`` adds one weight or not; ``pair`` takes two
        bits and two weights per cycle (see :mod:`bamac_hw.datapath.pair_lane_array`; dense walk
        only). ``int8`` and ``int8_dsp`` multiply a weight by an activation of 8 bits per cycle, by
        shift and add or with a DSP block: the baseline, which runs networks whose maps hold such
        values (dense walk only, 8 channels or more).
    streams : 1 or 2
        Parts of a tile, of ``tile_rows / streams`` rows of pixels each, that are offered weight
        rows of their own (event-driven walk only): each one per cycle, from a read port of its own
        of the weight store. Memories of iCE40 have no second one.
    map_head : bool
        Whether a layer that reads a map, or the input, can emit scores, unsigned values or bits
        through the collector, as dense layers do; its own map is one pixel. Without it the first
        layer of the head reads a vector. Int8 lanes can do it anyway.
    kernel_most : 7 or 15
        Rows and columns of the largest kernel.
    axis_strides : bool
        Whether a convolution's stride may be 1 along one axis and 2 along the other.
    zero_rows : bool
        Whether the walk leaves out weight rows of zeros (event-driven walk with one stream only),
        by masks which it reads through a second port of the weight store. Memories of iCE40 have
        none.
    depthwise : bool
        Whether a lane can take the bit of its own channel (gated lanes only), so that a depthwise
        convolution of a map takes a cycle for each kernel tap, and a weight row.
    zero_points : bool
        Whether the input may have a zero point (event-driven walk only; the dense walk takes one
        anyway).
    interleaved : bool
        Whether the values of a row of frames come as [column][channel], as cameras send them; else
        the host sends them as :func:`bamac_hw.abi.frames.stream_rows` says.
    """

    name: str
    tile_rows: int = 2
    tile_cols: int = 2
    channels: int = 32
    acc_bits: int = 20
    weight_rows: int = 2048
    input_words: int = 256
    line_words: int = 512
    vector_words: int = 512
    max_layers: int = 15
    counters: bool = True
    walk: str = "dense"
    lane: str = "gated"
    streams: int = 1
    map_head: bool = False
    kernel_most: int = KERNEL_MOST
    axis_strides: bool = False
    zero_rows: bool = False
    depthwise: bool = False
    zero_points: bool = False
    interleaved: bool = False

    INPUT_BITS = INPUT_BITS
    VECTOR_BITS = VECTOR_BITS

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise GeometryError(f"name must be a word of letters and digits, not {self.name!r}")
        _check_choice("tile_rows", self.tile_rows, (1, 2, 4))
        _check_choice("tile_cols", self.tile_cols, (1, 2, 4))
        _check_choice("channels", self.channels, (4, 8, 16, 32, 64))
        _check_int("acc_bits", self.acc_bits, 16, 32)
        _check_int("weight_rows", self.weight_rows, 16, 65536)
        _check_int("input_words", self.input_words, 4, 65536)
        _check_int("line_words", self.line_words, 4, 65536)
        _check_int("vector_words", self.vector_words, 4, 4096)
        _check_int("max_layers", self.max_layers, 2, 15)
        for name in ("counters", *_SWITCHES):
            if not isinstance(getattr(self, name), bool):
                raise GeometryError(f"{name} must be true or false, not {getattr(self, name)!r}")
        _check_choice("kernel_most", self.kernel_most, (KERNEL_MOST, 15))
        _check_choice("walk", self.walk, walks())
        _check_choice("lane", self.lane, lanes())
        if traits_of(self.lane, self.walk) is None:
            possible = [walk for walk in walks() if traits_of(self.lane, walk)]
            raise GeometryError(f"lane {self.lane} must have walk {' or '.join(possible)}, "
                                f"not {self.walk!r}")
        _check_choice("streams", self.streams, (1, 2))
        if self.streams > self.traits.max_streams:
            raise GeometryError(
                f"walk must be event for {self.streams} streams, not {self.walk!r}")
        if self.tile_rows % self.streams:
            raise GeometryError(f"tile_rows must be a multiple of the {self.streams} streams, "
                                f"not {self.tile_rows}")
        if self.zero_rows and not self.traits.event_driven:
            raise GeometryError(f"walk must be event for zero_rows, not {self.walk!r}: the dense "
                                f"walk takes every weight row")
        if self.zero_rows and self.streams > 1:
            raise GeometryError(f"streams must be 1 for zero_rows, not {self.streams}: the second "
                                f"port of the weight store reads the masks")
        if self.zero_points and not self.traits.stores_signs:
            raise GeometryError(f"walk must be event for zero_points, not {self.walk!r}: the dense "
                                f"walk takes inputs with a zero point anyway")
        if self.depthwise and not self.traits.own_bits:
            raise GeometryError(f"lane must be gated for depthwise, not {self.lane!r}")
        if self.channels < self.traits.min_channels:
            raise GeometryError(f"channels must be at least {self.traits.min_channels} for "
                                f"{self.lane} lanes, not {self.channels}")
        if self.weight_rows % self.store_rows:
            wanted = "even" if self.store_rows == 2 else f"a multiple of {self.store_rows}"
            raise GeometryError(f"weight_rows must be {wanted} for {self.lane} lanes, "
                                f"not {self.weight_rows}")

    @property
    def traits(self) -> DatapathTraits:
        """What the datapath of this lane and walk is, see :mod:`bamac_hw.traits`."""
        traits = traits_of(self.lane, self.walk)
        assert traits is not None, "checked when the geometry was made"
        return traits

    @property
    def pixels(self) -> int:
        """Pixels of a tile, and banks of each activation memory."""
        return self.tile_rows * self.tile_cols

    @property
    def stream_pixels(self) -> int:
        """Pixels of a stream's part of a tile."""
        return self.pixels // self.streams

    @property
    def lanes(self) -> int:
        """Accumulators."""
        return self.pixels * self.channels

    @property
    def int8_maps(self) -> bool:
        """Whether maps hold values of 8 bits, not bits."""
        return self.traits.int8_maps

    @property
    def word_channels(self) -> int:
        """Channels of a map in a word of the line buffers, which has ``channels`` bits."""
        return self.traits.word_channels(self.channels)

    @property
    def step_bits(self) -> int:
        """Activation bits of a pixel that one step of the walk offers."""
        return self.traits.step_bits

    @property
    def macs_per_lane(self) -> int:
        """Additions of a weight under an activation bit, or products, per lane and cycle at most.
        """
        return self.traits.macs_per_lane

    @property
    def macs_per_cycle(self) -> int:
        """The same for all lanes."""
        return self.lanes * self.macs_per_lane

    @property
    def input_word_bits(self) -> int:
        """Bits of a stored input value: the event-driven walk keeps a sign beside its magnitude."""
        return self.traits.input_word_bits

    @property
    def word_bits(self) -> int:
        """Bits of the widest activation word: channels of a map, or planes of a value.

        In the event-driven walk an input value has planes of either sign. With int8 lanes: values
        of a map.
        """
        return self.traits.activation_word_bits(self.channels)

    @property
    def vector_bits(self) -> int:
        """Bits of a word of the vector memory."""
        return self.traits.vector_bits

    @property
    def address_bits(self) -> int:
        """Bits of an address in any of the activation memories."""
        return (max(self.input_words, self.line_words, self.vector_words) - 1).bit_length()

    @property
    def extended(self) -> bool:
        """Whether layer descriptors have the fields of options, in a word more."""
        return (self.kernel_most > KERNEL_MOST or self.axis_strides or self.zero_rows
                or self.depthwise)

    @property
    def padding_bits(self) -> int:
        """Bits of a number of rows or columns of padding on a side, or of a kernel, less one."""
        return self.kernel_most.bit_length()

    @property
    def row_bits(self) -> int:
        """Bits of the number of a row of the weight store."""
        return (self.weight_rows - 1).bit_length()

    @property
    def column_bits(self) -> int:
        """Bits of a number of columns: what one slot of a ring can hold, and padding."""
        most = self.tile_cols * max(self.input_words, self.line_words) + 2 * self.kernel_most
        return min(16, most.bit_length())

    @property
    def start_bytes(self) -> int:
        """Bytes of a start value."""
        return -(-self.acc_bits // 8)

    @property
    def store_rows(self) -> int:
        """Rows in a word of the weight store: what is read in one cycle."""
        return self.traits.macs_per_lane

    @property
    def weight_ports(self) -> int:
        """Read ports of the weight store: one for each stream, and one for masks."""
        return self.streams + self.zero_rows

    @property
    def start_reads(self) -> int:
        """Words of the weight store that hold one start value per output channel."""
        return -(-self.start_bytes // self.store_rows)

    @property
    def acc_min(self) -> int:
        """Smallest value of an accumulator."""
        return -(1 << (self.acc_bits - 1))

    @property
    def acc_max(self) -> int:
        """Largest value of an accumulator."""
        return (1 << (self.acc_bits - 1)) - 1

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weight store."""
        return self.weight_rows * self.channels

    @property
    def weight_window(self) -> int:
        """Byte address at which the host writes the weight store."""
        return weight_window(self.weight_bytes)

    @property
    def bus_address_bits(self) -> int:
        """Bits of a byte address on the host's side."""
        return address_bits(self.weight_bytes)

    def to_dict(self) -> dict[str, Any]:
        """Every field, as plain values; options that the array does not have are left out."""
        return {name: value for name, value in asdict(self).items()
                if name not in _OPTIONS or value != getattr(Geometry, name)}

    def digest(self) -> str:
        """SHA-256 over every field but the name: equal digests run the same programs.

        What an array does not have is left out, a second stream too, so that arrays from before
        there was such a field keep theirs.
        """
        values = {key: value for key, value in self.to_dict().items()
                  if key != "name" and (key, value) != ("streams", 1)}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Geometry:
        """Build from a mapping of field names, refusing unknown or missing ones."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise GeometryError(
                f"Unknown geometry field {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if "name" not in values:
            raise GeometryError("A geometry must have a name")
        return cls(**values)

    @classmethod
    def from_file(cls, path: str | Path) -> Geometry:
        """Read a TOML file whose top level holds the fields; a missing name is the file's stem."""
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise GeometryError(f"Geometry file {path} does not exist") from None
        except OSError as error:
            raise GeometryError(
                f"Geometry file {path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise GeometryError(f"Geometry file {path} is not TOML: {error}") from None
        return cls.from_dict({"name": path.stem.replace("-", "_"), **values})

    @classmethod
    def preset(cls, name: str) -> Geometry:
        """One of the named presets, see :meth:`presets`."""
        presets = cls.presets()
        if name not in presets:
            raise GeometryError(
                f"Array preset must be one of {', '.join(presets)}, not {name!r}; "
                f"or give a .toml file")
        return presets[name]

    @classmethod
    def presets(cls) -> dict[str, Geometry]:
        """The named presets, smallest first.

        ``tiny`` has the memories of an iCE40UP5K (weights in its 4 SPRAMs of 16384 x 16 bit),
        ``small`` those of an ECP5-25k (weights in 32 block RAMs), ``large`` those of an ECP5-85k.
        ``small_event`` is ``small`` with the event-driven walk, ``small_pair`` with pair lanes.
        ``small_int8`` and ``small_dsp`` have as many lanes for networks with 8-bit maps, the
        baseline: their line buffers are larger, as values take eight times the room of bits.
        ``general`` has every option, and memories for networks that were not made for speech, on
        an ECP5-85k.
        """
        return {
            g.name: g
            for g in (
                cls("tiny", channels=8, weight_rows=16384, line_words=1024),
                cls("small"),
                cls("small_event", walk="event"),
                cls("small_pair", lane="pair"),
                cls("small_int8", acc_bits=24, line_words=2048, lane="int8"),
                cls("small_dsp", acc_bits=24, line_words=2048, lane="int8_dsp"),
                cls("large", tile_cols=4, acc_bits=24, weight_rows=4096),
                cls("general", acc_bits=24, weight_rows=8192, input_words=1024, line_words=2048,
                    vector_words=1024, walk="event", map_head=True, kernel_most=15,
                    axis_strides=True, zero_rows=True, depthwise=True, zero_points=True),
            )
        }

    @classmethod
    def named(cls, text: str | Path) -> Geometry:
        """A preset's name or the path of a ``.toml`` file, as the command line takes them."""
        text = str(text)
        if text.endswith(".toml"):
            return cls.from_file(text)
        return cls.preset(text)
