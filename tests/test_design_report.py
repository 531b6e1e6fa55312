"""The report of a design, from made-up results: what is there is shown, what is not is named."""

import dataclasses
import html
import re
from pathlib import Path

import pytest
from test_report import made_up, made_up_int8

from bamac import load
from bamac.compiler import CompileError, compile_network
from bamac.fpga import power
from bamac.fpga.targets import Target
from bamac.ir.random_networks import paper_network, random_case
from bamac.report.card import card_metrics
from bamac.report.design import Options, collect, design_document, samples
from bamac.report.design.collect import Design, compiled
from bamac.report.design.missing import Missing
from bamac.report.design.modules import by_instance, largest
from bamac.report.document import html_page, write_markdown
from bamac_hw.geometry import Geometry

MODULES = {"": {"lut": 5}, "lanes": {"lut": 2000, "ff": 900}, "walker": {"lut": 30},
           "walker.windows": {"lut": 70, "ff": 11}, "weights": {"bram": 32, "lut": 1}}
RESOURCES = {"lut": 2106, "carry": 0, "ff": 911, "bram": 32, "spram": 0, "lutram": 0, "dsp": 0}
MAPPED = {"resources": RESOURCES, "modules": MODULES,
          "target": Target.named("ecp5-25k").to_dict()}
PATH = {"from": "walker.count", "to": "lanes.acc", "through": ["walker.count", "lanes.acc"],
        "delay_ns": 9.5, "routing_ns": 6.25, "logic_ns": 3.25, "levels": 7}
PLACED = MAPPED | {
    "fmax_mhz": {"median": 101.5, "lowest": None, "highest": 105.0}, "best": 1,
    "timing_met": True, "tools": {"yosys": "Yosys 9", "nextpnr": "nextpnr 8"},
    "seeds": [{"seed": 1, "fmax_mhz": 105.0, "path": PATH, "given_up_s": None,
               "used": {"lut": 2200}, "available": {"lut": 24288}},
              {"seed": 2, "fmax_mhz": None, "given_up_s": 600.0}]}
VALUES = {"low": 10.0, "middle": 21.0, "high": 55.0}
ACTIVITY = {"kind": "estimate", "cycles": 2000, "toggles": 12345, "nets": 99, "clip": "clean.wav",
            "target": "ecp5-25k", "total_uj": {k: 3 * v for k, v in VALUES.items()},
            "modules": {"lanes": dict.fromkeys(power.PARTS, VALUES)}}
CARD = """# Model card: mine

## Agreement with PESQ

| clips | n | PCC | SRCC | RMSE | label std |
|---|---|---|---|---|---|
| **test, all** | 1200 | 0.780 | – | 0.707 | 1.054 |
| test: it | 282 | 0.844 | 0.842 | 0.564 | 1.045 |
| validation | 600 | 0.808 | 0.810 | 0.633 | 1.002 |
"""


@pytest.fixture(scope="module")
def program():
    network = paper_network().network
    return compile_network(network, Geometry.preset("small")), network


@pytest.fixture
def bare(program):
    """A design of which nothing but simulations is known."""
    own, network = program
    rivals = [{"geometry": Geometry.preset(name), "cycles": cycles, "mapped": Missing("not yet")}
              for name, cycles in (("small", 2000), ("small_pair", 1200))]
    return Design(Path("paper.bamac"), Options(), own, network, network.describe(),
                  [made_up(clip="clean.wav"), made_up(clip="noisy.wav", cycles=2400)],
                  Missing("no card"), Missing("no table"), Missing("run `bamac synth`"), rivals,
                  Missing("run it with `--activity`"), {"bamac": "0.1.0"})


@pytest.fixture
def full(bare):
    rivals = [row | {"mapped": MAPPED} for row in bare.rivals]
    return dataclasses.replace(bare, card=("mine.md", *card_metrics(CARD)), implementation=PLACED,
                               rivals=rivals, activity=ACTIVITY)


def _text(design):
    page = html_page(design_document(design, "bamac report paper.bamac"))
    plain = re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    return " ".join(html.unescape(plain).split())


def test_what_is_missing_is_named_and_the_rest_is_there(bare):
    text = _text(bare)
    for words in ("Agreement: no card .", "Resources: not yet .", "Timing: run bamac synth .",
                  "Counted toggles : run it with --activity .", "at 25 MHz, not placed",
                  "No preset of this size has int8 lanes"):
        assert words.replace(" .", ".").replace(" :", ":") in text.replace(" .", ".").replace(
            " :", ":"), words
    assert "2,000 to 2,400" in text and "2 of 2" in text


def test_a_full_report_shows_every_part(full):
    text = _text(full)
    for words in ("101.5 MHz", "median of 2 seeds", "2,106", "test, all 1200 0.780 –",
                  "given up after 600 s", "walker.count > lanes.acc .", "7 cells, 6.25 ns",
                  "30 to 165 uJ", "12,345 times", "Placed: 2,200 of 24,288 LUT",
                  "Only 2 of 3 seeds were measured", "95 MHz on ecp5-25k is met"):
        assert words in text, words
    assert "test: it" not in text
    # 2,106 x 1,200 against 2,106 x 2,000
    assert "small_pair pair dense 2,106 911 0 1,200 0.60" in text
    # Real time at 101.5 MHz of 62.5 at 25 MHz
    assert f"{62.5 * 101.5 / 25:.1f} x" in text


def test_a_difference_is_shown(full):
    full.results[0] = made_up(clip="clean.wav", bit_exact=False, differences=["layer conv1 here"])
    text = _text(full)
    assert "1 of 2" in text and "layer conv1 here" in text


def test_the_baseline_is_told_of_in_its_own_words(full):
    network = paper_network(int8_maps=True).network
    own = compile_network(network, Geometry.preset("small_int8"))
    rivals = [row | {"geometry": Geometry.preset(name)}
              for row, name in zip(full.rivals, ("small_int8", "small"), strict=True)]
    design = dataclasses.replace(full, program=own, network=network,
                                 results=[made_up_int8(clip="clean.wav")], rivals=rivals,
                                 about=network.describe())
    text = _text(design)
    for words in ("int8 lanes (a shift-and-add multiplier each)",
                  "Active inputs are values other than 0.",
                  "products needed", "int8 = 1", "with int8 maps",
                  "the float network that this one was quantised from",
                  "8-bit maps with int8 weights, without the front end"):
        assert words in text, words
    for words in ("bits that are 1", "additions needed", "binary = 1", "bits read are 1",
                  "horowitz-45nm: binary"):
        assert words not in text, words
    assert "horowitz-45nm: fp32" in text


def test_markdown_and_page_have_the_same_sections(full, tmp_path):
    document = design_document(full, "bamac report paper.bamac")
    write_markdown(document, tmp_path)
    headings = re.findall(r"^## (.*)$", (tmp_path / "README.md").read_text(), re.M)
    assert headings == re.findall(r"<h2>(.*?)</h2>", html_page(document))
    assert len(headings) == 10 and len(list(tmp_path.glob("*.png"))) == 11


def test_int8_lanes_run_the_twin_of_the_same_shape():
    network = paper_network().network
    twin = paper_network(int8_maps=True).network
    int8 = Geometry.preset("small_int8")
    assert compiled(network, twin, int8).manifest["network"]["digest"] == twin.digest()
    gated = compiled(network, twin, Geometry.preset("small"))
    assert gated.manifest["network"]["digest"] == network.digest()
    small = Geometry.preset("small")
    assert compiled(twin, network, small).manifest["network"]["digest"] == network.digest()
    assert compiled(twin, network, int8).manifest["network"]["digest"] == twin.digest()
    with pytest.raises(CompileError, match="no network of this shape with 8-bit maps ships"):
        compiled(network, None, int8)
    with pytest.raises(CompileError, match="no network of this shape with binary maps ships"):
        compiled(twin, None, small)


def test_results_of_one_array_are_not_those_of_another():
    twin = paper_network(int8_maps=True).network
    keys = {samples.program_key(compile_network(twin, Geometry.preset(name)))
            for name in ("small_int8", "small_dsp")}
    assert len(keys) == 2


def test_modules_add_up():
    groups = by_instance(MODULES)
    assert groups["walker"] == {"lut": 100, "ff": 11} and groups["(top)"] == {"lut": 5}
    shown = largest(groups, 2)
    assert list(shown) == ["lanes", "walker", "others"]
    assert shown["others"] == {"lut": 6, "bram": 32}
    assert sum(counts.get("lut", 0) for counts in shown.values()) == RESOURCES["lut"]


def test_cards_without_a_table_are_refused():
    with pytest.raises(ValueError, match="must have a table of agreement"):
        card_metrics("# Model card\n\n| a | b |\n")


def test_collect_names_what_is_not_in_an_empty_cache(tmp_path, monkeypatch):
    case = random_case(1, acc_bits=20, pools=((1, 1), (2, 2), (2, 1), (1, 2)))
    program = compile_network(case.network, Geometry("quad", channels=4, weight_rows=1024,
                                                     line_words=512))
    load.save_program(program, case.network, tmp_path / "p.bamac")
    monkeypatch.setenv("BAMAC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(load, "frames_of_clip", lambda *a: (case.frames[:1], 5.0))
    monkeypatch.setattr(samples, "results", lambda *a: [made_up()])
    design = collect(tmp_path / "p.bamac", Options(clips=("a.wav",)))
    for value in (design.card, design.accuracy, design.implementation, design.activity,
                  *(row["mapped"] for row in design.rivals)):
        assert isinstance(value, Missing) and value.reason
    assert "bamac synth NAME.bamac --target ecp5-25k" in design.implementation.reason
    assert [row["geometry"].name for row in design.rivals] == ["quad"]
    assert not (tmp_path / "cache" / "fpga").exists()
