"""Complete tops for boards, with clock, reset, pins and the serial link to the host."""

from .board import Board, BoardError
from .icebreaker import ICEBREAKER
from .ulx3s import ULX3S

__all__ = ["BOARDS", "Board", "BoardError", "register_board"]

BOARDS: dict[str, Board] = {}
"""Boards by name, as commands take them."""


def register_board(board: Board) -> Board:
    """Make a board known by its name; returns it.

    Raises
    ------
    ValueError
        If the name belongs to another board already.
    """
    if BOARDS.setdefault(board.name, board) is not board:
        raise ValueError(f"Board must have a name of its own, not {board.name!r}")
    return board


for _board in (ULX3S, ICEBREAKER):
    register_board(_board)
