"""Complete tops for boards, with clock, reset, pins and the serial link to the host."""

from .board import BOARDS, Board, BoardError, register_board
from .icebreaker import ICEBREAKER
from .ulx3s import ULX3S

__all__ = ["BOARDS", "Board", "BoardError", "register_board"]

for _board in (ULX3S, ICEBREAKER):
    register_board(_board)
