"""The order in which a frame's values travel, as host, compiler and gateware agree on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["row_beats", "stream_rows"]


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
