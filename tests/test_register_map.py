"""The register map in its three forms says the same."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bamac_hw.abi import register_map
from bamac_hw.abi.counters import COUNTERS
from bamac_hw.abi.registers import Register

DOCS = Path(__file__).parents[1] / "docs" / "registers.md"


def test_document_is_current():
    assert DOCS.read_text(encoding="utf-8") == register_map.markdown(), (
        "make it anew: python -m bamac_hw.abi.register_map > docs/registers.md")


def test_document_has_every_register_and_counter():
    text = register_map.markdown()
    for name, offset in (("ID", 0x00), ("VERSION", 0x04), ("GEOMETRY", 0x08), ("CONTROL", 0x0C),
                         ("STATUS", 0x10), ("ERROR", 0x14), ("CLIPS", 0x18), ("INTERRUPT", 0x1C)):
        assert Register[name] == offset
        assert f"| 0x{offset:02X} | {name} | " in text
    assert len(Register) == 8
    for k, name in enumerate(COUNTERS):
        assert f"| {k} | {name} | " in text


def test_c_header_by_hand():
    values = dict(re.findall(r"^#define (BAMAC_\w+) (.+?)(?: /\*.*)?$", register_map.c_header(),
                             re.M))
    for name, value in {
        "BAMAC_ID_VALUE": "0x434D4142u", "BAMAC_CONTROL": "0x0Cu",
        "BAMAC_CONTROL_RUN": "(1u << 0)", "BAMAC_CONTROL_INTERRUPT_ENABLE": "(1u << 2)",
        "BAMAC_STATUS_SCORE_PENDING": "(1u << 2)", "BAMAC_ERROR_RANGE": "(1u << 2)",
        "BAMAC_INTERRUPT_CLIP": "(1u << 0)", "BAMAC_DESCRIPTORS_WINDOW": "0x01000u",
        "BAMAC_COUNTERS_WINDOW": "0x02000u", "BAMAC_WEIGHTS_WINDOW": "0x80000u",
        "BAMAC_COUNTER_SLOTS": "32u", "BAMAC_COUNTER_EVENTS": "8u",
    }.items():
        assert values[name] == value, name


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_c_header_compiles(tmp_path):
    (tmp_path / "bamac_registers.h").write_text(register_map.c_header())
    (tmp_path / "use.c").write_text(
        '#include "bamac_registers.h"\n#include "bamac_registers.h"\n'
        "unsigned address = BAMAC_COUNTERS_WINDOW + 4 * (2 * BAMAC_COUNTER_SLOTS"
        " + BAMAC_COUNTER_SCORES);\n")
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c",
                    "use.c", "-o", "use.o"], cwd=tmp_path, check=True)
