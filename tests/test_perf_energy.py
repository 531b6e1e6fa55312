import pytest

from bamac.perf import energy


def counts(**changes):
    layer = {"name": "conv1", "lane_adds": 1000, "lane_steps": 4000, "macs": 4000,
             "accesses": {"weights": 10, "line_buffers": 20, "descriptors": 3}}
    return {"acc_bits": 20, "layers": [layer], "front_end": None,
            "memories": {"weights": {"bytes": 65536, "access_bits": 256},
                         "line_buffers": {"bytes": 8000, "access_bits": 32},
                         "descriptors": {"bytes": 1024, "access_bits": 32}}} | changes


def test_entries_are_the_cited_ones():
    horowitz, jouppi = energy.TABLES["horowitz-45nm"], energy.TABLES["jouppi-7nm"]
    assert (horowitz.add(8), horowitz.add(32), horowitz.multiply(8)) == (0.03, 0.1, 0.2)
    assert (horowitz.fp32_add, horowitz.fp32_multiply) == (0.9, 3.7)
    assert [horowitz.access(kb * 1024, 64) for kb in (1, 8, 9, 32, 33, 1024)] == [
        10, 10, 20, 20, 100, 100]
    assert (jouppi.add(8), jouppi.add(32), jouppi.multiply(8)) == pytest.approx(
        (0.007, 0.03, 0.07))
    assert [jouppi.access(kb * 1024, 64) for kb in (8, 32, 1024)] == [7.5, 8.5, 14]
    assert "ISSCC 2014" in horowitz.citation and "ISCA 2021" in jouppi.citation


def test_qkeras_formulas_by_hand():
    table = energy.TABLES["qkeras-45nm"]
    assert table.add(16) == pytest.approx(0.05)
    # 0.002994791667 * 64 + 0.001041666667 * 8
    assert table.multiply(8) == pytest.approx(0.2, abs=1e-6)
    # 8 kB are 2^16 bits: 9.02427321e-4 * 4096 - 2.68847858e-2 * 256 + 0.208900804 * 16
    assert table.access(8192, 1) == pytest.approx(0.156250, abs=1e-4)


def test_binary_layer_by_hand():
    result = energy.estimate(counts())["tables"]["horowitz-45nm"]["binary"]
    # 20-bit addition: 0.03 + 12 / 24 * 0.07 = 0.065 pJ; a gate is 0.003 pJ
    assert result["arithmetic_uj"] == pytest.approx((1000 * 0.065 + 4000 * 0.003) / 1e6)
    # 64 kB is beyond 32 kB: 100 pJ per 64 bits, 256 bits each
    assert result["weights_uj"] == pytest.approx(10 * 400 / 1e6)
    assert result["activations_uj"] == pytest.approx(20 * 5 / 1e6)
    assert result["control_uj"] == pytest.approx(3 * 5 / 1e6)
    assert result["front_end_uj"] == 0
    assert result["total_uj"] == pytest.approx(sum(result[f"{p}_uj"] for p in energy.PURPOSES))


def test_wider_variants_by_hand():
    tables = energy.estimate(counts())["tables"]["horowitz-45nm"]
    assert tables["int8"]["arithmetic_uj"] == pytest.approx(4000 * (0.2 + 0.1) / 1e6)
    assert tables["fp32"]["arithmetic_uj"] == pytest.approx(4000 * 4.6 / 1e6)
    assert tables["int8"]["weights_uj"] == tables["binary"]["weights_uj"]
    assert tables["fp32"]["weights_uj"] == pytest.approx(4 * tables["binary"]["weights_uj"])
    # Eight times the bits in a memory of 64 kB instead of 8: the next class but one
    assert tables["int8"]["activations_uj"] == pytest.approx(20 * 100 * 256 / 64 / 1e6)
    assert tables["fp32"]["activations_uj"] == pytest.approx(20 * 100 * 1024 / 64 / 1e6)
    assert tables["fp32"]["control_uj"] == tables["binary"]["control_uj"]


def test_every_result_is_called_an_estimate_and_cites_its_source():
    result = energy.estimate(counts())
    assert result["kind"] == "estimate"
    assert len({table["node_nm"] for table in result["tables"].values()}) >= 2
    assert all(table["citation"] for table in result["tables"].values())


def test_layers_add_up():
    layers = [dict(counts()["layers"][0], name=name) for name in ("a", "b")]
    result = energy.estimate(counts(layers=layers))["tables"]["jouppi-7nm"]["int8"]
    for purpose in energy.PURPOSES[:-1]:
        key = f"{purpose}_uj"
        assert result[key] == pytest.approx(sum(layer[key] for layer in result["layers"]))


def test_front_end_is_counted_per_frame():
    one, many = energy.front_end_counts(1), energy.front_end_counts(249)
    assert many["multiplies"] == pytest.approx(249 * one["multiplies"], rel=1e-3)
    # Between the window alone and a plain matrix of the transform
    assert 640 < one["multiplies"] < 640 * 321 * 2
    with_it = energy.estimate(counts(front_end=many))["tables"]["horowitz-45nm"]
    assert with_it["binary"]["front_end_uj"] == with_it["fp32"]["front_end_uj"] > 0


def test_memory_without_a_size_is_refused():
    with pytest.raises(KeyError, match="memory 'weights' of layer conv1 has no size"):
        energy.estimate(counts(memories={}))
