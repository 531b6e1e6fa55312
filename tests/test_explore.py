"""Sweeps: the points, the rows, and that nothing finished is ever lost."""

import csv
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

from bamac import load
from bamac.cli.main import root
from bamac.compiler import compile_network
from bamac.explore import ExploreError, Point, Store, Task, grid, run
from bamac.explore.evaluate import digest_of_clips, evaluate, geometry_of, model_version
from bamac.explore.executors import dask_executor, process_executor
from bamac.explore.pareto import front
from bamac.explore.points import parse_tile, parse_vary
from bamac.explore.study import Study
from bamac.ir.random_networks import paper_network, random_case
from bamac.qonnx import exporter as qonnx_export
from bamac_hw.geometry import Geometry


@contextmanager
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@contextmanager
def nothing_must_run():
    raise AssertionError("every result was known")
    yield


def point(rows=2, cols=2, channels=8, walk="dense", **more):
    return Point((("tile_rows", rows), ("tile_cols", cols), ("channels", channels),
                  ("walk", walk), *more.items()))


def square(number):
    if number < 0:
        raise ValueError("negative")
    return {"square": number * number}


def square_or_die(number):
    if number == 3:
        os._exit(1)
    return square(number)


def tasks(call, numbers):
    return [Task(Store.key(n), call, (n,)) for n in numbers]


def test_grid_has_every_combination_and_any_field_can_be_one_of_its_dimensions():
    points = grid([(2, 2), (4, 2)], [8, 16], ["dense"], {"acc_bits": [20, 24]})
    assert len(points) == 8
    assert points[1].to_dict() == {"tile_rows": 2, "tile_cols": 2, "channels": 8, "walk": "dense",
                                   "acc_bits": 24}
    assert points[-1].label == "4x2x16 dense 24"
    assert points[-1].geometry(weight_rows=64).acc_bits == 24


@pytest.mark.parametrize("call, message", [
    (lambda: parse_tile("2by2"), "Tile must be ROWSxCOLUMNS such as 2x4, not '2by2'"),
    (lambda: parse_vary("acc_bits=wide"), "Value of acc_bits must be of type int, not 'wide'"),
    (lambda: parse_vary("weight_rows=64"),
     "A dimension must be FIELD=VALUE,VALUE with one of the fields .*, not 'weight_rows=64'"),
    (lambda: grid([(2, 2), (2, 2)], [8], ["dense"]),
     "A sweep must name each value of a dimension once"),
])
def test_sweep_that_makes_no_sense_is_refused(call, message):
    with pytest.raises(ExploreError, match=f"^{message}$"):
        call()


def test_front_of_a_table_by_hand():
    assert front([[1, 9], [2, 5], [3, 5], [5, 1], [5, 1], [6, 2]]).tolist() == [
        True, True, False, True, True, False]


def test_row_of_the_papers_network_by_hand():
    case = paper_network()
    row = evaluate(point(channels=32), case.network, case.frames)
    # Start bytes of each job and rows of each tile and pass: conv1's planes share a row
    tiles = [(124 * 60, 9), (62 * 30, 288), (31 * 15, 288), (2 * 16 * 8, 288)]
    jobs = [124, 62, 31, 2 * 16]
    dense = [64 + 3, 64 + 3, 64 + 3]
    rows = sum(n * reads for n, reads in tiles) + 3 * sum(jobs) + 2 * dense[0] + 2 * dense[1]
    assert row["weights_traffic_bytes"] == 32 * (rows + dense[2])
    assert row["weight_bound_bytes"] == 288 + 2 * 32 * 288 + 64 * 288 + 2 * 64 * 64 + 64
    assert row["lanes"] == 128 and row["cycles_least"] == row["cycles_bound_worst"]


def test_memories_just_hold_the_network_or_are_those_of_an_array():
    case = random_case(3, pools=((1, 1), (2, 2)))
    row = evaluate(point(), case.network, case.frames)
    assert row["status"] == "ok"
    smaller = Geometry.from_dict({**geometry_of(row).to_dict(), "weight_rows":
                                  row["weight_rows"] - 1})
    refused = evaluate(point(), case.network, case.frames, smaller)
    assert refused["status"] == "refused" and refused["lanes"] == 32
    assert f"{row['weight_rows']} weight rows of 8 bytes do not fit" in refused["reason"]
    roomy = evaluate(point(), case.network, case.frames, Geometry.preset("tiny"))
    assert roomy["on_chip_bytes"] > row["on_chip_bytes"]


def test_point_that_cannot_be_built_is_refused_with_the_reason():
    case = random_case(3, pools=((1, 1), (2, 2)))
    row = evaluate(point(rows=3), case.network, case.frames)
    assert row["status"] == "refused"
    assert row["reason"] == "tile_rows must be one of 1, 2, 4, not 3"


def test_event_driven_row_lies_within_its_bounds():
    case = random_case(5, pools=((1, 1), (2, 2)), windows=2)
    row = evaluate(point(walk="event"), case.network, case.frames)
    assert (row["cycles_bound_best"] <= row["cycles_least"] <= row["cycles"]
            <= row["cycles_most"] <= row["cycles_bound_worst"])


def test_failure_is_reported_and_tried_again_and_does_not_lose_the_others(tmp_path):
    store = Store(tmp_path)
    results = run(tasks(square, [2, -1, 4]), threads, store)
    assert results == [{"square": 4}, {"status": "failed", "reason": "ValueError: negative"},
                       {"square": 16}]
    assert store.find(Store.key(-1)) is None and len(list(tmp_path.iterdir())) == 2


def test_worker_that_dies_does_not_lose_the_others(tmp_path):
    results = run(tasks(square_or_die, range(6)), partial(process_executor, 2), Store(tmp_path))
    assert [result.get("square") for result in results] == [0, 1, 4, None, 16, 25]
    assert results[3] == {"status": "failed", "reason": "RuntimeError: the worker process died, "
                                                        "perhaps for want of memory"}


def test_finished_results_are_not_computed_again(tmp_path):
    store = Store(tmp_path)
    first = run(tasks(square, range(4)), threads, store)
    seen = []
    assert run(tasks(square, range(4)), nothing_must_run, store,
               progress=lambda *counts: seen.append(counts)) == first
    assert seen == [(4, 4)]


def test_interruption_keeps_what_is_finished(tmp_path):
    store = Store(tmp_path)

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tasks(square, range(8)), threads, store, progress=interrupt)
    kept = len(list(tmp_path.iterdir()))
    assert kept >= 3
    seen = []
    results = run(tasks(square, range(8)), threads, store,
                  progress=lambda *counts: seen.append(counts))
    assert seen[0] == (kept, 8)
    assert [result["square"] for result in results] == [n * n for n in range(8)]


def test_damaged_result_is_computed_again(tmp_path):
    store = Store(tmp_path)
    (tmp_path / f"{Store.key(5)}.json").write_text('{"squ')
    assert run(tasks(square, [5]), threads, store) == [{"square": 25}]
    assert store.find(Store.key(5)) == {"square": 25}


def sweep(folder, *more):
    frames = folder / "frames.npy"
    np.save(frames, paper_network(rows=40).frames[0])
    qonnx_export.export(paper_network(rows=40).network, folder / "net.onnx")
    arguments = ["explore", str(folder / "net.onnx"), "--clip", str(frames), "--tiles", "1x1,2x2",
                 "--channels", "16,32", "--jobs", "1", "-o", str(folder / "out"), "--cache",
                 str(folder / "cache"), *more]
    return CliRunner().invoke(root, arguments)


def test_command_writes_one_table_its_report_and_figures(tmp_path):
    done = sweep(tmp_path, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    # The pool needs two rows; pair lanes walk densely
    assert [row["status"] for row in result["rows"]] == (
        ["refused"] * 8 + ["ok", "ok", "ok", "refused"] * 2)
    with (tmp_path / "out" / "explore.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["cycles"] for row in table] == [str(row.get("cycles", ""))
                                                for row in result["rows"]]
    report = (tmp_path / "out" / "explore.md").read_text()
    assert "pool over 2 rows does not divide the tile of 1 rows" in report
    assert "| every event pair | refused | lane pair must have walk dense" in report
    for name in ("explore-pareto.png", "explore-traffic.png"):
        assert name in report and (tmp_path / "out" / name).stat().st_size > 10_000
    began = time.time()
    again = sweep(tmp_path)
    assert "16 points, 16 of them known" in again.stderr
    assert all(path.stat().st_mtime < began for path in (tmp_path / "cache").iterdir())


def test_synthesised_shapes_are_in_the_report(tmp_path, monkeypatch):
    network = paper_network(rows=40).network
    qonnx_export.export(network, tmp_path / "net.onnx")
    np.save(tmp_path / "frames.npy", paper_network(rows=40).frames[0])
    study = Study(grid([(2, 2)], [16, 32], ["dense"], {"lane": ["gated", "pair"]}),
                  [tmp_path / "net.onnx"], [tmp_path / "frames.npy"], Store(tmp_path / "kept"),
                  threads)
    rows = study.predict()
    luts = {"gated": 5000, "pair": 6000}
    monkeypatch.setattr("bamac.explore.evaluate.synthesise", lambda geometry, target: {
        "lut": luts[geometry.lane], "ff": 1, "bram": 2})
    study.synthesise(rows, "ecp5-25k", shapes=["2x2x32"])
    assert [row.get("lut") for row in rows] == [None, None, 5000, 6000]
    names = {"csv": "e.csv", "json": "e.json", "report": "e.md", "pareto": "p.png",
             "traffic": "t.png"}
    study.write({"about": {"command": "explore", "date": "", **study.about()}, "rows": rows},
                tmp_path, names)
    section = (tmp_path / "e.md").read_text().split("### LUTs")[1].split("###")[0]
    pair, gated = [line for line in section.splitlines() if line.startswith("| 2x2x32")]
    product = 5000 * rows[2]["cycles"] / (6000 * rows[3]["cycles"])
    assert "dense pair | 6,000" in pair and " 1.00 " in pair
    assert "dense gated | 5,000" in gated and f" {product:.2f} " in gated


def test_shape_to_synthesise_must_be_in_the_sweep(tmp_path):
    refused = sweep(tmp_path, "--synth", "ecp5-25k", "--synth-shapes", "2x2x32,4x4x32")
    assert str(refused.exception) == "Shapes to synthesise must be in the sweep, not '4x4x32'"


def test_models_are_files_or_programs_with_short_names_that_differ(tmp_path):
    network = paper_network(rows=40).network
    load.save_program(compile_network(network, Geometry.preset("small")), network,
                          tmp_path / "net.bamac")
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other"):
        qonnx_export.export(network, folder / "net.onnx")
    np.save(tmp_path / "frames.npy", paper_network(rows=40).frames[0])

    def names(*paths):
        about = Study([point()], paths, [tmp_path / "frames.npy"], None, None).about()
        assert {m["network_digest"] for m in about["models"].values()} == {network.digest()}
        return list(about["models"])

    assert names(tmp_path / "net.bamac") == ["net"]
    assert names(tmp_path / "net.onnx", tmp_path / "other" / "net.onnx") == [
        f"{tmp_path.name}/net", "other/net"]
    both = [tmp_path / "net.bamac", tmp_path / "net.onnx"]
    assert names(*both) == [str(path) for path in both]


def test_dask_cluster_of_two_workers_gives_the_same_rows(tmp_path):
    distributed = pytest.importorskip("distributed", reason="optional extra: bamac[dask]")
    case = random_case(5, pools=((1, 1), (2, 2)))
    points = grid([(2, 2), (4, 4)], [8, 16], ["dense", "event"])
    work = [Task(Store.key(p.to_dict()), evaluate, (p, case.network, case.frames)) for p in points]
    with distributed.LocalCluster(n_workers=2, processes=True, threads_per_worker=1,
                                  dashboard_address=None) as cluster:
        assert len(cluster.workers) == 2
        there = run(work, partial(dask_executor, cluster.scheduler_address, model_version),
                    Store(tmp_path))
    assert there == [evaluate(p, case.network, case.frames) for p in points]


def test_dask_address_without_a_scheduler_is_refused():
    pytest.importorskip("distributed", reason="optional extra: bamac[dask]")
    with pytest.raises(ExploreError, match="^No Dask scheduler answers at tcp://127.0.0.1:1: "):
        with dask_executor("tcp://127.0.0.1:1", model_version, timeout="1s"):
            pass


def test_digests_follow_the_clips():
    frames = np.zeros((2, 3, 4), np.int16)
    assert digest_of_clips(frames) != digest_of_clips(frames.reshape(1, 6, 4))
    assert digest_of_clips(frames) == digest_of_clips(frames.astype(np.int64))
