"""The order in which a frame's values travel, as host, compiler and gateware agree on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Arrangement", "row_beats", "stream_rows"]


@dataclass(frozen=True)
class Arrangement:
    """How the host arranges a clip's frames before it sends them.

    Parameters
    ----------
    kind : "spread" or "phases"
        ``spread``: the values, channel after channel and row after row, become positions of pixel
        after pixel of a channel, then of the next channel. ``phases``: channel ``(i * across + j) *
        channels + c`` holds of channel ``c`` every ``down``-th row from ``i - offset[0]`` on, and
        of that every ``across``-th column from ``j - offset[1]`` on.
    shape : (channels, rows, cols) that are sent
    source : (channels, rows, cols) of the frames
    fill : value that is sent where the frames have none
    stride : (down, across) of ``phases``
    offset : rows and columns of ``fill`` in front of the frames, of ``phases``
    """

    kind: str
    shape: tuple[int, int, int]
    source: tuple[int, int, int]
    fill: int = 0
    stride: tuple[int, int] = (1, 1)
    offset: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.kind not in ("spread", "phases"):
            raise ValueError(f"kind must be spread or phases, not {self.kind!r}")

    def apply(self, frames: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Clips (clips, ...) of frames as (clips, *shape)."""
        values = np.asarray(frames, np.int64)
        clips = len(values)
        channels, rows, cols = self.shape
        if self.kind == "spread":
            flat = values.reshape(clips, -1)
            short = channels * rows * cols - flat.shape[1]
            return np.pad(flat, ((0, 0), (0, short)), constant_values=self.fill).reshape(
                clips, *self.shape)
        values = values.reshape(clips, *self.source)
        (down, across), (above, left) = self.stride, self.offset
        height, width = rows * down, cols * across
        full = np.full((clips, self.source[0], height, width), self.fill, np.int64)
        kept = values[:, :, :height - above, :width - left]
        full[:, :, above:above + kept.shape[2], left:left + kept.shape[3]] = kept
        # (clip, channel, row, phase, col, phase) -> (clip, phase, phase, channel, row, col)
        return full.reshape(clips, -1, rows, down, cols, across).transpose(
            0, 3, 5, 1, 2, 4).reshape(clips, *self.shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a program's manifest has them."""
        return {"kind": self.kind, "shape": list(self.shape), "source": list(self.source),
                "fill": self.fill, "stride": list(self.stride), "offset": list(self.offset)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Arrangement:
        """Of the plain values of :meth:`to_dict`."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value
                      for name, value in values.items()})


def row_beats(channels: int, cols: int, tile_cols: int, *, interleaved: bool = False) -> int:
    """Values that are sent for one row of ``channels x cols`` values, see :func:`stream_rows`."""
    if interleaved:
        return channels * cols
    groups = -(-cols // tile_cols)
    return (groups * channels - 1) * tile_cols + cols - (groups - 1) * tile_cols


def stream_rows(frames: npt.ArrayLike, tile_cols: int, *,
                interleaved: bool = False) -> npt.NDArray[np.int64]:
    """Frames in the order in which an array with tiles of ``tile_cols`` columns takes them.

    A row is sent as [group of ``tile_cols`` columns][channel][column in the group]. Columns that
    the last group lacks are sent as 0, except behind the last channel, where the row ends. So a row
    of one channel is sent as it is. An interleaved row is sent as [column][channel].

    Parameters
    ----------
    frames : int array (clips, channels, rows, cols), or (clips, rows, cols) of one channel
    tile_cols, interleaved : int, bool
        Of the geometry.

    Returns
    -------
    int64 array (clips, rows, beats)
    """
    values = np.asarray(frames, np.int64)
    if values.ndim == 3:
        values = values[:, np.newaxis]
    clips, channels, rows, cols = values.shape
    if interleaved:
        return values.transpose(0, 2, 3, 1).reshape(clips, rows, -1)
    groups = -(-cols // tile_cols)
    padded = np.pad(values, ((0, 0), (0, 0), (0, 0), (0, groups * tile_cols - cols)))
    # (clip, channel, row, group, column) -> (clip, row, group, channel, column)
    ordered = padded.reshape(clips, channels, rows, groups, tile_cols).transpose(0, 2, 3, 1, 4)
    return ordered.reshape(clips, rows, -1)[:, :, :row_beats(channels, cols, tile_cols)]
