"""The accelerator's side of a host port: what any port gives, whatever its bus is."""

from amaranth.lib.wiring import In, Member, Out
from amaranth.utils import ceil_log2

from ..abi.counters import COUNTER_SLOTS
from ..abi.descriptors import DESCRIPTOR_WORDS
from ..geometry import Geometry
from ..lib.signature import SizedSignature

__all__ = ["ControlSignature", "CounterReadSignature", "LoadSignature", "inside"]


class ControlSignature(SizedSignature):
    """Control and status bits, as the host port sees them.

    Members
    -------
    run : level, the program shall run
    clear_counters : set all counters to zero
    running, waiting, score_pending : status: booted; nothing can run until a frame arrives; a score
        is offered
    clip_done : a clip was scored
    errors : set these bits of the error register
    """

    @classmethod
    def sizes(cls, geometry):
        return {"run": Out(1), "clear_counters": Out(1), "running": In(1), "waiting": In(1),
                "score_pending": In(1), "clip_done": In(1), "errors": In(3)}


class LoadSignature(SizedSignature):
    """Writes of 32-bit words into the program's memories, as the host port sees them.

    A word is written in the cycle in which its enable is set. Both memories have the same ``addr``
    and ``data``.

    Members
    -------
    descriptors, weights : the word belongs to the descriptor memory; to the weight store
    addr : counts 32-bit words; of a descriptor's address, only the low bits that
        its memory needs are meaningful
    data : the word
    """

    @classmethod
    def sizes(cls, geometry):
        return {"descriptors": Out(1), "weights": Out(1),
                "addr": Out(max(ceil_log2(geometry.weight_bytes // 4),
                                ceil_log2((geometry.max_layers + 1) * DESCRIPTOR_WORDS))),
                "data": Out(32)}


class CounterReadSignature(SizedSignature):
    """The counters' window, as the host port sees it.

    Members
    -------
    addr : word of the window
    data : its content one cycle later, if ``busy`` was low in the cycle of the address
    busy : a job's counts are being booked
    """

    @classmethod
    def sizes(cls, geometry):
        return {"addr": Out(ceil_log2(geometry.max_layers * COUNTER_SLOTS)), "data": In(32),
                "busy": In(1)}


def inside(geometry: Geometry) -> dict[str, Member]:
    """Members of a host port's inner side.

    ``irq`` (a clip was scored and the interrupt is enabled), ``control``, ``load``, ``counters``.
    """
    return {"irq": Out(1), "control": Out(ControlSignature(geometry)),
            "load": Out(LoadSignature(geometry)),
            "counters": Out(CounterReadSignature(geometry))}
