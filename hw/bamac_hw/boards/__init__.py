"""Complete tops for boards, with clock, reset, pins and the serial link to the host."""

from .board import Board, BoardError
from .icebreaker import ICEBREAKER
from .ulx3s import ULX3S

__all__ = ["BOARDS", "Board", "BoardError"]

BOARDS = {board.name: board for board in (ULX3S, ICEBREAKER)}
