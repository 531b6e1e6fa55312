"""The host's and the stream's interfaces under drivers that are not ours."""

import json

import numpy as np
from cocotb_tools.check_results import get_results

from bamac.compiler import compile_network
from bamac.ir import reference
from bamac.ir.random_networks import random_case
from bamac_hw.geometry import Geometry
from bamac_hw.verilog import TOP
from bamac_sim.build import TIMESCALE, Runner, build
from bamac_sim.simulate import Job, _write_jobs


def test_clips_through_cocotbext_axi(tmp_path):
    case = random_case(7, windows=2, pools=((1, 1), (2, 2)))
    program = compile_network(case.network, Geometry.preset("small"))
    built = build(program.geometry)
    _write_jobs(tmp_path, [Job(program, case.frames)], built)
    results = tmp_path / "results.xml"
    Runner(built.toolchain).test(
        hdl_toplevel=TOP, hdl_toplevel_lang="verilog", test_module="bamac_sim.axi_interop",
        build_dir=built.folder, test_dir=tmp_path, results_xml=str(results),
        log_file=tmp_path / "log", timescale=TIMESCALE, extra_env={"BAMAC_JOBS": str(tmp_path)})
    assert get_results(results) == (1, 0)
    scores = np.array(json.loads((tmp_path / "scores.json").read_text()))
    expected = [reference.run(case.network, window).outputs for window in case.frames]
    assert scores.size and scores.shape == (2, expected[0].size)
    np.testing.assert_array_equal(scores, expected)
