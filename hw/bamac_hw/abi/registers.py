"""The host's registers and address windows, as host and gateware agree on them."""

from amaranth.lib import enum

from .counters import COUNTER_SLOTS
from .descriptors import DESCRIPTOR_WORDS

__all__ = [
    "ADDRESS_BITS",
    "COUNTER_WINDOW",
    "DESCRIPTOR_WINDOW",
    "ID_VALUE",
    "REGISTERS",
    "WEIGHT_WINDOW",
    "WINDOWS",
    "Register",
    "address_bits",
    "weight_window",
]


class Register(enum.IntEnum):
    """Byte offsets of the AXI4-Lite registers, 32 bits each; :data:`REGISTERS` describes them."""

    ID = 0x00
    VERSION = 0x04
    GEOMETRY = 0x08
    CONTROL = 0x0C
    STATUS = 0x10
    ERROR = 0x14
    CLIPS = 0x18
    INTERRUPT = 0x1C


# Access, meaning, and the bits by name: what docs/registers.md and the C header are made from.
REGISTERS = {
    Register.ID: ("read", '0x434D4142, "BAMC" in memory order', ()),
    Register.VERSION: ("read", "format version of program and registers", ()),
    Register.GEOMETRY: ("read", "first 32 bits of the geometry digest", ()),
    Register.CONTROL: ("read, write", "", (
        ("RUN", "run"), ("CLEAR_COUNTERS", "clear counters (self-clearing)"),
        ("INTERRUPT_ENABLE", "interrupt enable"))),
    Register.STATUS: ("read", "", (
        ("RUNNING", "running"), ("WAITING", "waiting for a frame"),
        ("SCORE_PENDING", "a score is pending"))),
    Register.ERROR: ("read, write 1 to clear", "", (
        ("SHORT", "frame too short"), ("LONG", "frame too long"),
        ("RANGE", "value with too many bits"))),
    Register.CLIPS: ("read", "clips scored since reset, modulo 65536", ()),
    Register.INTERRUPT: ("read, write 1 to clear", "", (("CLIP", "a clip was scored"),)),
}


ID_VALUE = int.from_bytes(b"BAMC", "little")
DESCRIPTOR_WINDOW = 0x01000
COUNTER_WINDOW = 0x02000
WEIGHT_WINDOW = 0x80000
# Name, first byte, access, content.
WINDOWS = (
    ("descriptors", DESCRIPTOR_WINDOW, "write, while not running",
     f"{4 * DESCRIPTOR_WORDS} bytes for the header and for each layer"),
    ("counters", COUNTER_WINDOW, "read",
     f"{4 * COUNTER_SLOTS} bytes for each layer, counters in the order of `COUNTERS`"),
    ("weights", WEIGHT_WINDOW, "write, while not running", "`channels` bytes for each row"),
)
ADDRESS_BITS = 20


def weight_window(weight_bytes: int) -> int:
    """First byte of the window of a weight store of so many bytes.

    It is ``WEIGHT_WINDOW`` for up to 512 KiB. A larger one begins at its own size, rounded up to a
    power of two, so that the highest address bit alone tells the window.
    """
    return max(WEIGHT_WINDOW, 1 << (weight_bytes - 1).bit_length())


def address_bits(weight_bytes: int) -> int:
    """Bits of a byte address where the weight store has so many bytes."""
    return weight_window(weight_bytes).bit_length()
