"""The terms of reports for binary maps and for int8 maps."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BITS", "INT8", "Wording", "variants_of", "wording"]


@dataclass(frozen=True)
class Wording:
    """Words for one kind of map.

    Parameters
    ----------
    ran : the variant of :mod:`bamac.perf.energy` that ran on the array
    density_title, density_unit, density_column : activation density: the share of bits that are
        1, or of values that are not 0
    why_density : one sentence on what that share decides
    work_column : additions or products that the network needs
    about_work : on the columns of work
    lanes_used : on the share of the lanes that is used
    maps : of the bar of whole maps on chip
    """

    ran: str
    density_title: str
    density_unit: str
    density_column: str
    why_density: str
    work_column: str
    about_work: str
    lanes_used: str
    maps: str


BITS = Wording(
    ran="binary",
    density_title="Activation density at the input of each layer",
    density_unit="% of the bits read are 1",
    density_column="active inputs",
    why_density="Active inputs are bits that are 1. Only they cause an addition.",
    work_column="additions needed",
    about_work="Additions needed: one int8 weight under one activation bit, whatever the bit is. "
               "Carried out: those whose bit was 1, in all lanes, lanes without a channel "
               "included.",
    lanes_used="Lanes used: additions that the network needs, divided by cycles times lanes; "
               "above 100 % where the event-driven walk skips those whose bit is 0.",
    maps="binary")
INT8 = Wording(
    ran="int8",
    density_title="Activation density at the input of each layer",
    density_unit="% of the values read are not 0",
    density_column="active inputs",
    why_density="Active inputs are values other than 0. The lanes multiply by every value; a 0 "
                "saves no cycle.",
    work_column="products needed",
    about_work="Products needed: one int8 weight times one 8-bit value, whatever the value is. "
               "Carried out: those whose value was not 0, in all lanes, lanes without a channel "
               "included.",
    lanes_used="Lanes used: products that the network needs, divided by cycles times lanes.",
    maps="int8")


def wording(int8_maps):
    """:data:`INT8` if maps hold values of 8 bits, else :data:`BITS`."""
    return INT8 if int8_maps else BITS


def variants_of(tables):
    """Variants in tables of energies, the one that ran first, as of ``perf.energy.estimate``."""
    table = next(iter(tables.values()))
    return [variant for variant in ("binary", "int8", "fp32") if variant in table]
