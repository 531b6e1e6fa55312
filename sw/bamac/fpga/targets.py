"""The devices that a design can be implemented for."""

from dataclasses import asdict, dataclass, replace

from bamac.errors import FpgaError

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """One device: what the tools call it, the clock it must reach, and what it holds.

    Parameters
    ----------
    name : str
        As the command line takes it.
    family : "ecp5", "ice40" or "xc7"
    device : str
        nextpnr's option for the die, such as ``25k``; Yosys' family for xc7.
    package : str
        As nextpnr names it.
    speed : str
        Speed grade, where the family has one.
    clock_mhz : float
        Clock that the design must meet.
    pins : int
        User pins of the package.
    resources : dict
        Kind (see :mod:`bamac.fpga.resources`) to how many the device holds. Empty where nothing
        is placed.
    """

    name: str
    family: str
    device: str
    package: str
    speed: str
    clock_mhz: float
    pins: int
    resources: dict

    @property
    def placed(self):
        """Whether there is an open place and route for this family."""
        return self.family != "xc7"

    def to_dict(self):
        return asdict(self)

    def at(self, clock_mhz):
        """The same device with another clock to be met."""
        return replace(self, clock_mhz=float(clock_mhz))

    @classmethod
    def all(cls):
        """Every target by name.

        Resources: ECP5 and iCE40 UltraPlus family data sheets (Lattice FPGA-DS-02012,
        FPGA-DS-02008); a slice of ECP5 counts as two LUT4.
        """
        # Speed grade 6 is the slowest and the commonest on boards.
        ecp5 = {
            "25k": ("CABGA381", 197, dict(lut=24288, ff=24288, bram=56, dsp=28)),
            "45k": ("CABGA381", 203, dict(lut=43848, ff=43848, bram=108, dsp=72)),
            "85k": ("CABGA381", 205, dict(lut=83640, ff=83640, bram=208, dsp=156)),
        }
        found = [cls(f"ecp5-{size}", "ecp5", size, package, "6", 95.0, pins, resources)
                 for size, (package, pins, resources) in ecp5.items()]
        found += [
            cls("ice40-up5k", "ice40", "up5k", "sg48", "", 12.0, 39,
                dict(lut=5280, ff=5280, bram=30, spram=4, dsp=8)),
            cls("xc7", "xc7", "xc7", "", "", 0.0, 0, {}),
        ]
        return {target.name: target for target in found}

    @classmethod
    def named(cls, name):
        targets = cls.all()
        if name not in targets:
            raise FpgaError(f"Target must be one of {', '.join(targets)}, not {name!r}")
        return targets[name]
