"""The register map for readers and for C, from :mod:`bamac_hw.abi.registers`."""

from .counters import COUNTER_SLOTS, COUNTERS
from .descriptors import FORMAT_VERSION
from .registers import ADDRESS_BITS, ID_VALUE, REGISTERS, WINDOWS

__all__ = ["c_header", "markdown"]


def markdown() -> str:
    """The text of ``docs/registers.md``."""
    lines = [
        "# Registers",
        "",
        f"AXI4-Lite, 32-bit accesses with all strobes set, {ADDRESS_BITS}-bit byte addresses. "
        "Names and values are those",
        "of `Register` in `hw/bamac_hw/abi/registers.py`; `python -m bamac_hw.abi.register_map` "
        "makes this text",
        "from it, and with `--c` a C header.",
        "",
        "| offset | name | access | content |",
        "|---|---|---|---|",
    ]
    for register, (access, text, bits) in REGISTERS.items():
        named = [f"bit {k} {meaning}" for k, (_, meaning) in enumerate(bits)]
        lines.append(f"| 0x{int(register):02X} | {register.name} | {access} | "
                     f"{text or ', '.join(named)} |")
    lines += [f"| 0x{base:05X} | {name} | {access} | {text} |"
              for name, base, access, text in WINDOWS]
    lines += [
        "",
        "Anything else answers SLVERR and changes nothing. After reset the counters take "
        f"{COUNTER_SLOTS} cycles per",
        "possible layer to clear; `run` takes effect behind that. After an error bit, reset "
        "before the next",
        "clip: the score of the clip in progress is not to be trusted.",
        "",
        "A weight store of more than 512 KiB needs more address bits: its window begins at its "
        "size, rounded",
        "up to a power of two (`Geometry.weight_window`, `Geometry.bus_address_bits`). Everything "
        "else stays",
        "where it is.",
        "",
        "Clearing `run` stops the accelerator when it next waits for a frame; what has arrived "
        "of a clip is",
        "forgotten.",
        "",
        "## Counters",
        "",
        "Layer `n` has counter `k` at 0x02000 + 128 `n` + 4 `k`; each is 32 bits and wraps.",
        "Reads ignore the two low address bits.",
        "",
        "| k | name | content |",
        "|---|---|---|",
        *(f"| {k} | {name} | {text} |" for k, (name, text) in enumerate(COUNTERS.items())),
    ]
    return "\n".join(lines) + "\n"


def c_header() -> str:
    """The text of a C header with every offset, bit and counter."""
    lines = [
        "/* Registers of the BAMAC accelerator: byte offsets, bits, counters. Generated. */",
        "#ifndef BAMAC_REGISTERS_H",
        "#define BAMAC_REGISTERS_H",
        "",
        f"#define BAMAC_ID_VALUE 0x{ID_VALUE:08X}u",
        f"#define BAMAC_FORMAT_VERSION {FORMAT_VERSION}u",
    ]
    for register, (access, text, bits) in REGISTERS.items():
        lines += ["", f"/* {access}{': ' + text if text else ''} */",
                  f"#define BAMAC_{register.name} 0x{int(register):02X}u"]
        lines += [f"#define BAMAC_{register.name}_{name} (1u << {k}) /* {meaning} */"
                  for k, (name, meaning) in enumerate(bits)]
    for name, base, access, text in WINDOWS:
        lines += ["", f"/* {access}: {text} */",
                  f"#define BAMAC_{name.upper()}_WINDOW 0x{base:05X}u"]
    lines += ["", "/* words of the counters window: layer * BAMAC_COUNTER_SLOTS + counter */",
              f"#define BAMAC_COUNTER_SLOTS {COUNTER_SLOTS}u"]
    lines += [f"#define BAMAC_COUNTER_{name.upper()} {k}u /* {text} */"
              for k, (name, text) in enumerate(COUNTERS.items())]
    return "\n".join([*lines, "", "#endif"]) + "\n"


if __name__ == "__main__":
    import sys

    print(c_header() if "--c" in sys.argv[1:] else markdown(), end="")
