"""The gateware in simulation: every bit, cycle and memory access, against reference and model."""

import json

import numpy as np
import pytest

from bamac.compiler import CompileError, compile_network
from bamac.ir import reference
from bamac.ir.random_networks import corner_cases, paper_network, random_case
from bamac.perf.cycles import predict, predict_events
from bamac_hw.abi.counters import COUNTERS
from bamac_hw.geometry import Geometry
from bamac_sim.simulate import (
    Job,
    SimulationError,
    TraceRecordError,
    assemble_trace,
    simulate,
    simulate_many,
)

GEOMETRIES = {
    geometry.name: geometry for geometry in (
        Geometry("one_pixel", tile_rows=1, tile_cols=1, channels=4, acc_bits=20,
                 weight_rows=8192, line_words=8192, vector_words=512),
        Geometry("wide", tile_rows=1, tile_cols=4, channels=8, acc_bits=24, weight_rows=8192,
                 input_words=64, line_words=2048),
        Geometry.preset("small"),
        Geometry("event", channels=8, acc_bits=24, weight_rows=8192, input_words=64,
                 line_words=2048, walk="event"),
        Geometry("event_wide", tile_rows=1, tile_cols=4, weight_rows=8192, line_words=2048,
                 walk="event"),
        Geometry("streams", channels=8, weight_rows=8192, line_words=2048, walk="event",
                 streams=2),
        Geometry("pair", channels=8, weight_rows=8192, line_words=2048, lane="pair"),
        Geometry("int8", channels=8, acc_bits=24, weight_rows=8192, line_words=8192, lane="int8"),
    )
}
# Extreme weights need wide accumulators, and pools of 2 x 2 a tile of that size.
EXTREMES = {
    geometry.name: geometry for geometry in (
        Geometry("two_by_two", channels=4, acc_bits=24, weight_rows=8192, line_words=4096),
        Geometry("wide", tile_rows=2, tile_cols=4, channels=8, acc_bits=24, weight_rows=8192),
        Geometry("event", channels=8, acc_bits=24, weight_rows=8192, input_words=64,
                 line_words=2048, walk="event"),
        Geometry("pair", channels=4, acc_bits=24, weight_rows=16384, line_words=4096,
                 lane="pair"),
        Geometry("int8", channels=8, acc_bits=24, weight_rows=8192, line_words=8192, lane="int8"),
    )
}
MORE_GEOMETRIES = {
    geometry.name: geometry for geometry in (
        Geometry.preset("tiny"),
        Geometry.preset("large"),
        Geometry("tall", tile_rows=4, tile_cols=1, channels=16, acc_bits=17, weight_rows=8192,
                 line_words=4096),
        Geometry("square", tile_rows=4, tile_cols=4, channels=4, acc_bits=32, weight_rows=16384,
                 line_words=4096),
        Geometry("uncounted", channels=16, weight_rows=4096, counters=False),
        Geometry.preset("small_event"),
        Geometry("event_pixel", tile_rows=1, tile_cols=1, channels=4, weight_rows=8192,
                 line_words=8192, walk="event"),
        Geometry("event_large", tile_cols=4, channels=64, acc_bits=24, weight_rows=4096,
                 walk="event"),
        Geometry("event_square", tile_rows=4, tile_cols=4, channels=4, acc_bits=32,
                 weight_rows=16384, line_words=4096, walk="event"),
        Geometry("streams_large", tile_cols=4, channels=64, acc_bits=24, weight_rows=4096,
                 walk="event", streams=2),
        Geometry("streams_tall", tile_rows=4, tile_cols=1, channels=4, acc_bits=32,
                 weight_rows=16384, line_words=4096, walk="event", streams=2),
        Geometry("event_uncounted", channels=16, weight_rows=4096, counters=False, walk="event"),
        Geometry.preset("small_pair"),
        Geometry("pair_pixel", tile_rows=1, tile_cols=1, channels=4, weight_rows=16384,
                 line_words=8192, lane="pair"),
        Geometry("pair_wide", tile_rows=1, tile_cols=4, channels=16, acc_bits=17,
                 weight_rows=8192, line_words=2048, lane="pair"),
        Geometry("pair_square", tile_rows=4, tile_cols=4, channels=4, acc_bits=32,
                 weight_rows=32768, line_words=4096, lane="pair"),
        Geometry("pair_uncounted", channels=64, weight_rows=4096, counters=False, lane="pair"),
        Geometry.preset("small_int8"),
        Geometry("dsp_pixel", tile_rows=1, tile_cols=1, channels=16, acc_bits=26, weight_rows=8192,
                 line_words=16384, lane="int8_dsp"),
        Geometry("int8_square", tile_rows=4, tile_cols=4, channels=8, acc_bits=32,
                 weight_rows=16384, line_words=4096, lane="int8"),
        Geometry("dsp_tall", tile_rows=4, tile_cols=1, channels=16, acc_bits=24, weight_rows=8192,
                 line_words=8192, lane="int8_dsp"),
        Geometry("int8_uncounted", channels=16, acc_bits=24, weight_rows=4096, line_words=4096,
                 counters=False, lane="int8"),
    )
}


@pytest.fixture(autouse=True)
def _slow_only_on_request(request):
    if request.node.get_closest_marker("slow") and "slow" not in request.config.option.markexpr:
        pytest.skip("slow: run with `make test-slow`")


def mapped_cases(geometry, seeds, windows=1):
    """Random cases that fit the geometry, as (case, program)."""
    pools = [(rows, cols) for rows in (1, 2, 4) for cols in (1, 2, 4)
             if rows <= geometry.tile_rows and cols <= geometry.tile_cols]
    found = []
    for seed in seeds:
        case = random_case(seed, acc_bits=min(geometry.acc_bits, 24), windows=windows,
                           pools=pools, int8_maps=geometry.int8_maps)
        try:
            found.append((case, compile_network(case.network, geometry)))
        except CompileError:
            continue
    # Most must fit, or the test would be about little
    assert len(found) >= len(seeds) // 2, f"{len(found)} of {len(seeds)} cases fit"
    return found


def check_values(case, program, result):
    """Compare every bit, output and score with the reference; returns how many were compared."""
    assert len(result.outputs) == len(result.trace) == len(case.frames)
    compared = 0
    for clip, window in enumerate(case.frames):
        expected = reference.run(case.network, window)
        for row in program.layers:
            layer = expected.layers[row["name"]]
            if row["kind"] == "conv":
                wanted = layer.bits[:, :row["tiled_rows"], :row["tiled_cols"]]
                actual = result.trace[clip][row["name"]]["bits"]
            else:
                wanted, actual = layer.outputs, result.trace[clip][row["name"]]["outputs"]
            np.testing.assert_array_equal(
                actual, wanted, f"{case.name}, clip {clip}, layer {row['name']}")
            compared += wanted.size
        np.testing.assert_array_equal(result.outputs[clip], expected.outputs, case.name)
        compared += expected.outputs.size
    return compared


def check_counts(case, program, result, *, stalled=False):
    """Compare counters with the model, except for what stalls change; returns the number."""
    predicted = predict(program, case.network, case.frames)
    events = [predict_events(program, case.network, window) for window in case.frames]
    compared = 0
    for row, counters, model, *per_clip in zip(
            program.layers, result.counters, predicted["layers"], *events, strict=True):
        wanted = {**model, "events": sum(per_clip)}
        for name in COUNTERS:
            if stalled and (name.startswith("cycles_") or name == "state_reads"):
                continue
            assert counters[name] == wanted[name], f"{case.name}, layer {row['name']}, {name}"
            compared += 1
    if not stalled:
        assert result.cycles == predicted["cycles"], case.name
    return compared


def check_monitors(result):
    """Compare the gateware's counters with the enables seen at the ports."""
    compared = 0
    for counted, seen in zip(result.counters, result.monitors, strict=True):
        assert {name: counted[name] for name in seen} == seen
        compared += sum(seen.values())
    return compared


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_random_networks_to_the_bit_and_cycle(geometry):
    cases = mapped_cases(geometry, range(16), windows=2)
    results = simulate_many([Job(program, case.frames) for case, program in cases])
    compared = counted = 0
    for (case, program), result in zip(cases, results, strict=True):
        compared += check_values(case, program, result)
        counted += check_counts(case, program, result)
    assert compared > 1000 and counted > 500


def test_event_driven_vectors_with_values_above_8_bits():
    cases = mapped_cases(GEOMETRIES["event"], [20, 29])
    results = simulate_many([Job(program, case.frames) for case, program in cases])
    for (case, program), result in zip(cases, results, strict=True):
        trace = reference.run(case.network, case.frames[0])
        outputs = [trace.layers[dense.name].outputs for dense in case.network.denses[:-1]]
        assert max(int(values.max()) for values in outputs) > 255
        check_values(case, program, result)
        check_counts(case, program, result)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_stalls_and_resets_change_no_value(geometry):
    cases = mapped_cases(geometry, range(100, 106), windows=2)
    styles = [{"idle": 0.5}, {"stall": 0.7}, {"idle": 0.3, "stall": 0.3}, {"reset_at": 700},
              {"reset_at": 150, "idle": 0.2}, {"idle": 0.9, "stall": 0.9, "monitors": True}]
    jobs = [Job(program, case.frames, seed=seed, **style)
            for seed, ((case, program), style) in enumerate(zip(cases, styles, strict=False))]
    compared = counted = 0
    for job, (case, program), result in zip(jobs, cases, simulate_many(jobs), strict=True):
        compared += check_values(case, program, result)
        counted += check_counts(case, program, result, stalled=bool(job.idle or job.stall))
        if job.stall > 0.5:
            waited = sum(layer["cycles_wait_output"] for layer in result.counters)
            assert waited > 0, "Backpressure must reach the collector"
        assert result.elapsed >= result.clip_ends[0] > 0
    assert compared > 1000 and counted > 100


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_counters_equal_the_port_monitors(geometry):
    cases = mapped_cases(geometry, range(200, 206))
    results = simulate_many([Job(program, case.frames, monitors=True) for case, program in cases])
    compared = 0
    for (case, program), result in zip(cases, results, strict=True):
        check_values(case, program, result)
        compared += check_monitors(result)
    assert compared > 1000


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_values(name):
    geometry = EXTREMES[name]
    jobs, cases = [], []
    for case in corner_cases(int8_maps=geometry.int8_maps):
        try:
            program = compile_network(case.network, geometry)
        except CompileError:
            continue
        jobs.append(Job(program, case.frames))
        cases.append((case, program))
    assert len(cases) >= 5
    for (case, program), result in zip(cases, simulate_many(jobs), strict=True):
        assert check_values(case, program, result)
        assert check_counts(case, program, result)


def test_back_to_back_clips_are_independent():
    geometry = GEOMETRIES["small"]
    (case, program), = mapped_cases(geometry, [7], windows=3)
    singles = [Job(program, window) for window in case.frames]
    together, *alone = simulate_many([Job(program, case.frames), *singles])
    assert check_values(case, program, together)
    np.testing.assert_array_equal(together.outputs, np.concatenate([r.outputs for r in alone]))
    assert together.clip_ends == sorted(together.clip_ends) and len(together.clip_ends) == 3
    for clip, result in enumerate(alone):
        for layer, arrays in result.trace[0].items():
            for kind, array in arrays.items():
                np.testing.assert_array_equal(array, together.trace[clip][layer][kind])
    # One start for all clips: the same work, and never more waiting than apart
    assert together.cycles <= sum(result.cycles for result in alone)


def test_accumulators_are_the_references():
    geometry = GEOMETRIES["one_pixel"]
    compared = 0
    cases = mapped_cases(geometry, range(300, 304))
    results = simulate_many([Job(program, case.frames) for case, program in cases],
                            accumulators=True)
    for (case, program), result in zip(cases, results, strict=True):
        check_values(case, program, result)
        expected = reference.run(case.network, case.frames[0], keep_acc=True)
        for conv in case.network.convs:
            actual = result.trace[0][conv.name]["acc"]
            _, rows, cols = actual.shape
            # The accumulator starts at -threshold
            wanted = expected.layers[conv.name].acc - conv.thresholds[:, None, None]
            np.testing.assert_array_equal(actual, wanted[:, :rows, :cols])
            compared += actual.size
    assert compared > 500


def test_progress_is_told():
    (case, program), = mapped_cases(GEOMETRIES["small"], [7])
    told = []
    result = simulate(program, case.frames, progress=lambda *state: told.append(state))
    assert check_values(case, program, result)
    assert told and all(0 <= done <= 1 and cycles > 0 for done, cycles in told)
    assert result.sim_seconds > 0 and result.kcycles_per_s > 0 and result.build_seconds >= 0


def test_a_run_that_hangs_ends_with_the_reason(tmp_path):
    (case, program), = mapped_cases(GEOMETRIES["small"], [7])
    # The host is told of one more score than the hardware sends
    program.manifest["network"]["outputs"] += 1
    with pytest.raises(SimulationError) as error:
        simulate(program, case.frames, seed=5, patience=20_000)
    text = str(error.value)
    assert text.startswith("Simulation of job 0 (seed 5) failed: Nothing happened for 20000 ")
    assert "status is 0x3, error 0x0; see " in text
    with open(text.rpartition("see ")[2]) as log:
        assert "CheckError" in log.read()


def test_a_simulator_that_dies_is_no_result(monkeypatch, tmp_path):
    import bamac_sim.simulate as module

    (case, program), = mapped_cases(GEOMETRIES["small"], [7])
    monkeypatch.setattr(module.Runner, "_test_command", lambda self: [["true"]])
    with pytest.raises(SimulationError, match="^Simulation ended without a result; see "):
        simulate(program, case.frames)


def test_reset_after_the_end_is_refused():
    (case, program), = mapped_cases(GEOMETRIES["small"], [7])
    with pytest.raises(SimulationError, match="Reset must come before the end of the run"):
        simulate(program, case.frames, reset_at=100_000)


@pytest.fixture(scope="module")
def case_and_program():
    (found,) = mapped_cases(GEOMETRIES["small"], [7])
    return found


class TestJobs:
    def test_no_jobs(self):
        with pytest.raises(ValueError, match="^There must be at least one job$"):
            simulate_many([])

    def test_two_geometries(self, case_and_program):
        case, program = case_and_program
        other = compile_network(case.network, Geometry("other", channels=16, weight_rows=4096))
        with pytest.raises(ValueError, match="^All jobs must have one geometry, "
                                             "not small and other$"):
            simulate_many([Job(program, case.frames), Job(other, case.frames)])

    def test_no_program(self, case_and_program, tmp_path):
        with pytest.raises(FileNotFoundError, match="make one with 'bamac compile"):
            Job(tmp_path / "none.bamac", case_and_program[0].frames)

    def test_program_from_a_folder(self, case_and_program, tmp_path):
        case, program = case_and_program
        program.save(tmp_path / "p.bamac")
        np.testing.assert_array_equal(Job(tmp_path / "p.bamac", case.frames).program.weights,
                                      program.weights)

    @pytest.mark.parametrize("change, error, message", [
        (lambda f: f[:, :, 1:], ValueError, "Frames must be .* or clips of that, not "),
        (lambda f: f[:0], ValueError, "Frames must be .* or clips of that, not "),
        (lambda f: f.astype(float), TypeError, "Frames must be integers, not float64"),
        (lambda f: f + 1000, ValueError, "Frames must be in "),
    ])
    def test_frames_that_do_not_fit(self, case_and_program, change, error, message):
        case, program = case_and_program
        with pytest.raises(error, match="^" + message):
            Job(program, change(case.frames))

    def test_probabilities(self, case_and_program):
        case, program = case_and_program
        with pytest.raises(ValueError, match="^stall must be a probability below 1, not 1$"):
            Job(program, case.frames, stall=1)


def test_trace_with_a_hole_is_refused():
    (case, program), = mapped_cases(GEOMETRIES["small"], [7])
    good = fake_records(program, clips=1)
    assert set(assemble_trace(program, 1, good)[0]) == {row["name"] for row in program.layers}
    first = program.layers[0]["name"]
    with pytest.raises(TraceRecordError, match=f"^layer {first} has 0 records for 1 clips$"):
        assemble_trace(program, 1, {k: v[:0] if k.startswith("tile") else v
                                    for k, v in good.items()})
    with pytest.raises(TraceRecordError, match=f"^layer {first} has .* once$"):
        assemble_trace(program, 1, {k: v[:-1] if k.startswith("tile") else v
                                    for k, v in good.items()})
    with pytest.raises(TraceRecordError, match="has outputs "):
        assemble_trace(program, 1, {k: v[::-1] if k.startswith("word") else v
                                    for k, v in good.items()})


def fake_records(program, clips):
    """Records of a run in which every bit and output is 0."""
    tiles, words = [], []
    for layer in program.layers:
        if layer["kind"] == "dense":
            words += [(layer["index"], k) for k in range(layer["out_channels"])]
        else:
            g = program.geometry
            tiles += [(layer["index"], row, col, number)
                      for row in range(-(-layer["tiled_rows"] // g.tile_rows))
                      for number in range(-(-layer["out_channels"] // g.channels))
                      for col in range(-(-layer["tiled_cols"] // g.tile_cols))]
    tiles, words = np.array(tiles * clips), np.array(words * clips)
    return {
        **{f"tile_{name}": tiles[:, k] for k, name in enumerate(("layer", "row", "col", "pass"))},
        "tile_bits": np.zeros((len(tiles), program.geometry.lanes // 8), np.uint8),
        "word_layer": words[:, 0], "word_index": words[:, 1],
        "word_value": np.zeros(len(words), np.int64),
    }


@pytest.mark.slow
@pytest.mark.parametrize("geometry", MORE_GEOMETRIES.values(), ids=MORE_GEOMETRIES)
def test_more_geometries(geometry):
    cases = mapped_cases(geometry, range(400, 460), windows=2)
    rng = np.random.default_rng(len(geometry.name))
    jobs = []
    for k, (case, program) in enumerate(cases):
        stalls = {} if k % 3 else {"idle": rng.random() / 2, "stall": rng.random() / 2}
        jobs.append(Job(program, case.frames, seed=k, **stalls))
    compared = 0
    for job, (case, program), result in zip(jobs, cases, simulate_many(jobs), strict=True):
        compared += check_values(case, program, result)
        if geometry.counters:
            compared += check_counts(case, program, result, stalled=bool(job.stall))
        else:
            assert result.counters == [{}] * len(program.layers)
            assert result.cycles == result.elapsed > 0
    assert compared > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_hundreds_of_random_networks(geometry):
    cases = mapped_cases(geometry, range(1000, 1200))
    rng = np.random.default_rng(17)
    jobs = []
    for k, (case, program) in enumerate(cases):
        stalls = {} if k % 4 else {"idle": rng.random() / 2, "stall": rng.random() / 2}
        jobs.append(Job(program, case.frames, seed=k, **stalls))
    compared = 0
    for job, (case, program), result in zip(jobs, cases, simulate_many(jobs), strict=True):
        compared += check_values(case, program, result)
        compared += check_counts(case, program, result, stalled=bool(job.stall))
    assert compared > 50_000


@pytest.mark.slow
def test_whole_clip_is_fast_enough():
    case = paper_network()
    program = compile_network(case.network, Geometry.preset("small"))
    result = simulate(program, case.frames)
    assert check_values(case, program, result) > 1_000_000
    assert check_counts(case, program, result)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["vcd", "saif"])
def test_waves_show_the_signals(suffix, tmp_path):
    (case, program), = mapped_cases(GEOMETRIES["one_pixel"], [7])
    waves = tmp_path / f"clip.{suffix}"
    result = simulate(program, case.frames, waves=waves)
    assert check_values(case, program, result)
    assert result.waves == waves
    text = waves.read_text()
    assert len(text) > 10_000
    for signal in ("s_axis_frames_tdata", "m_axis_scores_tvalid", "scheduler"):
        assert signal in text


def test_seed_repeats_a_run():
    (case, program), = mapped_cases(GEOMETRIES["small"], [7])
    jobs = [Job(program, case.frames, idle=0.4, stall=0.4, seed=seed) for seed in (1, 1, 2)]
    first, again, other = simulate_many(jobs)
    assert first.clip_ends == again.clip_ends != other.clip_ends
    assert json.dumps(first.counters) == json.dumps(again.counters)
