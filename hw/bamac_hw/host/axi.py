"""Port names of the AXI interfaces, as users of other tools expect them."""

from amaranth import *
from amaranth.lib.wiring import Flow, In, Member, Out

__all__ = ["axi_lite_ports", "axi_stream_ports"]


def axi_lite_ports(prefix: str, *, address_bits: int) -> dict[str, Member]:
    """Members of an AXI4-Lite subordinate with 32-bit data (Arm IHI 0022, part B)."""
    ports = {
        "awaddr": In(address_bits), "awprot": In(3), "awvalid": In(1), "awready": Out(1),
        "wdata": In(32), "wstrb": In(4), "wvalid": In(1), "wready": Out(1),
        "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
        "araddr": In(address_bits), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
        "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1),
    }
    return {f"{prefix}_{name}": member for name, member in ports.items()}


def axi_stream_ports(prefix: str, *, bits: int, flow: Flow) -> dict[str, Member]:
    """Members of an AXI4-Stream of ``bits``-bit beats (Arm IHI 0051); ``flow`` is its direction."""
    back = Out if flow is In else In
    return {
        f"{prefix}_tdata": flow(bits), f"{prefix}_tvalid": flow(1),
        f"{prefix}_tready": back(1), f"{prefix}_tlast": flow(1),
    }
