"""What the package makes is what it made: digests of Verilog, programs, registers and runs."""

import pytest

from benchmarks import golden

QUICK = ("verilog", "registers")
"""One family of Verilog, and what takes no time; the others are slow."""


def test_every_group_is_recorded_and_complete():
    recorded = golden.recorded()
    assert sorted(recorded) == sorted(golden.GROUPS)
    assert all(recorded.values())


@pytest.mark.parametrize("group", [
    group if group in QUICK else pytest.param(group, marks=pytest.mark.slow)
    for group in golden.GROUPS])
def test_digests_are_those_recorded(group):
    found = golden.measure([group], processes=1)
    assert golden.differences(found, golden.recorded()) == []


def test_a_difference_is_named():
    assert golden.differences({"registers": {"page": "a"}}, {"registers": {"page": "b"}}) == [
        "registers: page is a, was b"]
    assert golden.differences({"runs": {}}, {"runs": {"clip": "b"}}) == [
        "runs: clip is None, was b"]


@pytest.mark.parametrize(("lut", "ff", "alike"), [
    (1010, 500, True), (990, 500, True), (1011, 500, False), (1000, 501, False)])
def test_mapped_luts_may_differ_by_a_hundredth_and_flip_flops_not_at_all(lut, ff, alike):
    now, then = {"lut": lut, "carry": 7, "ff": ff}, {"lut": 1000, "carry": 9, "ff": 500}
    assert (golden.differences({"mapped": {"small": now}}, {"mapped": {"small": then}}) == []) \
        == alike
