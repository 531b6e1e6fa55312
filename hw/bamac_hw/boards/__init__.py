"""Complete tops for boards, with clock, reset, pins and the serial link to the host.

A board from outside the package is a :class:`Board` and a call of :func:`register`.
"""

from .board import BOARDS, Board, BoardError, register
from .icebreaker import ICEBREAKER
from .ulx3s import ULX3S

__all__ = ["BOARDS", "Board", "BoardError", "register"]

for _board in (ULX3S, ICEBREAKER):
    register(_board)
