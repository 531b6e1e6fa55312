"""What the benchmarks compare, without a simulator: they must notice what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from measured import faultless

from bamac.nn import fused
from bamac.nn.checkpoint import DEFAULT_MODEL
from bamac.nn.predict import tensor_of
from bamac.perf.cycles import CAUSES, bounds, predict
from bamac.training.dnsmos_start import released_network
from bamac.training.pesq_augmentation import with_gain
from bamac.verify import compare
from bamac_hw.geometry import Geometry
from benchmarks import (
    conformance,
    exactness,
    popcounts,
    random_equalisation,
    thresholds,
    training_step,
)
from benchmarks.peers import ours


@pytest.fixture(scope="module", params=["quad", "quad_event", "quad_streams"])
def run(request):
    """A case, its input and program, and a result as a faultless simulator gives it."""
    geometry = next(g for g in conformance.GEOMETRIES if g.name == request.param)
    _, case, _, frames, program = next(conformance.jobs_of(geometry, 4, 1))
    return case, frames, program, faultless(program, case.network, frames)


def test_conformance_accepts_a_faultless_run(run):
    case, frames, program, result = run
    assert compare(program, case.network, frames, result).values_equal
    assert compare(program, case.network, frames, result).counts_equal
    assert conformance.within_bounds(frames, program, result)


def test_conformance_notices_one_wrong_bit_of_an_inner_layer(run):
    case, frames, program, result = run
    bits = result.trace[0][program.layers[0]["name"]]["bits"]
    bits[0, 0, 0] ^= 1
    assert not compare(program, case.network, frames, result).values_equal
    bits[0, 0, 0] ^= 1


@pytest.mark.parametrize("counter", ["weight_reads", "cycles_load", "events"])
def test_conformance_notices_a_counter_that_is_off_by_one(run, counter):
    case, frames, program, result = run
    result.counters[-1][counter] += 1
    assert not compare(program, case.network, frames, result).counts_equal
    result.counters[-1][counter] -= 1


def test_conformance_notices_what_lies_outside_the_bounds(run):
    _, frames, program, result = run
    worst = bounds(program, clips=len(frames))["worst"]
    saved, result.counters = result.counters, [dict(layer) for layer in result.counters]
    result.counters[0]["line_writes"] = worst["layers"][0]["line_writes"] + 1
    assert not conformance.within_bounds(frames, program, result)
    result.counters, cycles = saved, result.cycles
    result.cycles = worst["cycles"] + 1
    assert not conformance.within_bounds(frames, program, result)
    result.cycles = cycles


def test_no_two_inputs_of_conformance_are_of_one_kind_only():
    geometry = conformance.GEOMETRIES[0]
    kinds = {kind for _, _, kind, _, _ in conformance.jobs_of(geometry, 0, 10)}
    assert len(kinds) >= 4


@pytest.mark.parametrize("size, by_hand", [
    # Each row of tiles: tiles x (9 x 32 weight rows + 2), then 3 start rows and 8 cycles
    (60, 30 * (30 * 290 + 3 + 8)),
    (16, 8 * (8 * 290 + 3 + 8)),
])
def test_cycles_of_the_peers_layer_by_hand(size, by_hand):
    network = ours.network(size, 32)
    program = ours.compile_network(network, Geometry.preset("small"))
    layer = predict(program)["layers"][1]
    cycles = sum(layer[f"cycles_{cause}"] for cause in CAUSES)
    assert cycles - layer["cycles_schedule"] == by_hand


def test_a_setting_names_the_recipe_that_is_not_the_usual_one():
    from bamac.training.config import TrainConfig
    from benchmarks.trade_off import setting

    config = TrainConfig(clips=1200, epochs=8, fine_epochs=1, input_bits=4).decides()
    assert setting(config) == "4-bit input, 1,200 clips, 8 + 1"
    assert setting({**config, "data_recipe": 7}) == "4-bit input, 1,200 clips of recipe 7, 8 + 1"


def test_an_array_with_room_for_the_network_is_chosen():
    models = Path(DEFAULT_MODEL).parent
    assert exactness.array_of(models / "p808-bam-w8.pt") == "small"
    assert exactness.array_of(models / "p808-bam-w8-wide.pt") == "large"
    assert Path(exactness.array_of(models / "p808-bam-w8-thermometer.pt")).name == (
        "large_event_256k.toml")
    assert Path(exactness.array_of(models / "p808-bam-w8-units.pt")).name == (
        "large_event_512k.toml")


def test_exactness_keeps_the_rows_of_other_shipped_networks():
    def rows(pcc):
        return [("integer reference", {"clips": 1200, "pcc": pcc, "srcc": 0.5, "rmse": 0.25}, 0.0)]

    first = exactness.report({"paper-bam-w8": rows(0.1), "p808-bam-w8": rows(0.2),
                              "of no more use": rows(0.3)}, 20)
    second = exactness.report({"p808-bam-w8": rows(0.4)}, 20, first)
    kept = [line for line in first.splitlines() if line.startswith("| paper-bam-w8 ")]
    table = second.splitlines()[6:]
    assert "| 0.4000 | 0.5000 | 0.2500 | 0 | " in table[0] and table[1:] == kept
    assert "of no more use" in first


def test_training_step_refuses_another_gradient(monkeypatch):
    monkeypatch.setattr(fused, "_compiled", lambda: fused._gradient)
    assert min(training_step.measure("paper", (2, 1, 1, 1), 1, repetitions=1)) > 0
    monkeypatch.setattr(training_step, "_pytorch_pool", lambda x, size: x if size == (1, 1)
                        else torch.nn.functional.avg_pool2d(x, size))
    with pytest.raises(ValueError, match="Gradients of paper must be"):
        training_step.measure("paper", (2, 1, 1, 1), 1, repetitions=1)


def test_random_equalisation_is_a_smooth_gain_that_leaves_the_floor():
    rng = np.random.default_rng(3)
    gains = np.stack([random_equalisation.equaliser_gain(rng, 3.0) for _ in range(400)])
    assert np.abs(np.diff(gains.astype(int), axis=1)).max() <= 4
    # One step is 1/9 neper of power, 0.4825 dB: 3 dB are 6.2 steps
    assert gains[:, 0].std() == pytest.approx(3 / 0.4825, rel=0.1)
    clip = np.array([[-128] * 120, [-100] * 120, [0] * 120, [120] * 120], np.int8)
    moved = with_gain(clip, gains[0] + 20)
    np.testing.assert_array_equal(moved[:2], clip[:2])
    np.testing.assert_array_equal(moved[2], gains[0] + 20)
    assert moved[3].max() == 127


def test_starts_are_those_of_the_shifted_clip():
    frames = np.random.default_rng(2).integers(-127, 128, (501, 120)).astype(np.int8)
    window = frames[np.r_[0:501, 1:400]]
    network = released_network()
    found = popcounts.starts(network, window[None])
    later = frames[1 + np.arange(2, 902) % 500]  # the window of a start at frame 3
    with torch.no_grad():
        for start, expected in ((0, window), (3, later)):
            np.testing.assert_allclose(found[start], network(tensor_of(expected[None]))[:, 0])


def test_grid_agreements_compare_scores_and_means():
    rng = np.random.default_rng(7)
    own, released = rng.normal(size=(2, 8, 30))
    expected = [np.corrcoef(a, b)[0, 1] for a in (own[0], np.mean(own, 0))
                for b in (released[0], np.mean(released, 0))]
    found = dict(popcounts.grid_agreements(own, released))
    np.testing.assert_allclose(list(found.values()), expected)


def test_correlations_are_those_of_each_convolutions_sums():
    """Of a network with the released first maps, and second kernels that are mixed up."""
    torch.manual_seed(3)
    twin = released_network()
    network = released_network()
    x = torch.randint(-127, 128, (2, 1, 32, 120)).float()
    with torch.no_grad():
        network.convs[1].weight.add_(torch.randn_like(network.convs[1].weight) * 0.2)
        found = thresholds.correlations(network, twin, [x])
        maps = twin.convs[0](x)
        sums = [torch.nn.functional.conv2d(maps, net.convs[1].weight, padding=1)
                for net in (network, twin)]
    expected = np.mean([np.corrcoef(sums[0][:, c].flatten(), sums[1][:, c].flatten())[0, 1]
                        for c in range(32)])
    assert found[0] == pytest.approx(1) and found[1] == pytest.approx(expected, abs=1e-4)
    assert found[1] < 0.95 and len(found) == 5


def test_popcounts_count_what_exceeds_the_share():
    rng = np.random.default_rng(4)
    features = np.clip(rng.normal(-40, 30, (3, 900, 120)), -127, 127).astype(np.int8)
    network = released_network()
    limits = popcounts.thresholds(network, features)
    found = popcounts.statistics(network, features, limits)
    active = found["mean"].mean(0) > 0.05
    assert active.sum() > 5
    ones = (found[0.003] ** 2).sum(0) / (3 * 112 * 15)
    np.testing.assert_allclose(ones[active], 0.003, atol=0.001)
    with torch.no_grad():
        maxima = network.pooled(tensor_of(features))
    np.testing.assert_allclose(found["max"], maxima, atol=0.05 * float(maxima.max()))
