"""Constraint files of boards: where each port of the top is, and the clock that comes in."""

__all__ = ["OPTIONS", "constraints"]

# nextpnr's option for the file, and the file's name.
OPTIONS = {"ecp5": ("--lpf", "pins.lpf"), "ice40": ("--pcf", "pins.pcf")}


def constraints(board, family):
    """Text of the constraint file: ``.lpf`` for ECP5, ``.pcf`` for iCE40.

    Parameters
    ----------
    board : bamac_hw.boards.Board
    family : "ecp5" or "ice40"
    """
    lines = [f"# {board.title}; pins: package amaranth-boards, {board.platform.__name__}"]
    for pin in board.pins():
        if family == "ecp5":
            settings = " ".join(f"{name}={value}" for name, value in pin.attributes.items())
            lines += [f'LOCATE COMP "{pin.port}" SITE "{pin.site}";',
                      f'IOBUF PORT "{pin.port}" {settings};']
            if pin.clock_hz:
                lines.append(f'FREQUENCY PORT "{pin.port}" {pin.clock_hz / 1e6:g} MHZ;')
        else:
            pull = "-pullup yes " if pin.attributes.get("PULLUP") else ""
            lines.append(f"set_io {pull}{pin.port} {pin.site}")
            if pin.clock_hz:
                lines.append(f"set_frequency {pin.port} {pin.clock_hz / 1e6:g}")
    return "\n".join(lines) + "\n"
