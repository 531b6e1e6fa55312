import copy
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from bamac import report
from bamac.perf import energy
from bamac.report import html, summary

CAUSES = {"compute": 900, "fetch": 0, "tile": 50, "collect": 5, "load": 30, "schedule": 10,
          "wait_input": 5, "wait_output": 0}


def made_up(maps="binary", **changes):
    layers = [{"name": name, "kind": "conv", "bit_exact": True, "compared": 500, "cycles": 1000,
               "predicted_cycles": 1000, "cycles_by_cause": dict(CAUSES), "binary_macs": 115_200,
               "additions": 20_000, "density_in": 0.125} for name in ("conv1", "dense1")]
    columns = {key: {"accesses": n, "bytes": n * 32}
               for key, n in (("counted", 400), ("predicted", 400), ("lower_bound", 100))}
    traffic = {"weights": columns, "layer_state": copy.deepcopy(columns)}
    traffic["layer_state"]["lower_bound"] = {"accesses": 0, "bytes": 0}
    counts = {"maps": maps, "acc_bits": 20, "front_end": energy.front_end_counts(249),
              "memories": {"weights": {"bytes": 65536, "access_bits": 256}},
              "layers": [{"name": "conv1", "lane_adds": 20_000, "lane_steps": 115_200,
                          "macs": 115_200, "accesses": {"weights": 400}}]}
    return {
        "clip": "a <clip> & more.wav", "network": "paper", "network_digest": "0" * 64,
        "score": 2.71828, "reference_score": 2.71828, "bit_exact": True, "differences": [],
        "windows": 1, "cycles": 2000, "predicted_cycles": 2000, "utilisation": 0.9,
        "clock_mhz": 25.0, "time_s": 8e-5, "real_time_factor": 62.5, "audio_s": 4.2,
        "layers": layers, "traffic": traffic, "memory_bytes": {"weights": 45408, "line_buffers": 1},
        "memory_count": {"binary": 206137, "fp32": 5316868}, "energy": energy.estimate(counts),
        "energy_uj": 12.5, "geometry": {"name": "small", "lanes": 128, "digest": "1" * 64},
        "versions": {"bamac": "0.1.0"}} | changes


def made_up_int8(**changes):
    """A result of the int8 baseline, whose energies have no binary variant."""
    return made_up(maps="int8", **changes)


class Checked(HTMLParser):
    VOID = {"meta", "br", "link", "img", "path", "use", "rect"}

    def __init__(self):
        super().__init__()
        self.open, self.text, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        for name, value in attrs:
            assert name not in ("src", "srcset"), (tag, value)
            assert name != "href" or value.startswith("#"), (tag, value)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def checked(result):
    page = Checked()
    page.feed(html.render(result))
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    return " ".join(" ".join(page.text).split())


def test_page_is_whole_and_the_main_message_comes_first():
    text = checked(made_up())
    assert text.index("2.718") < text.index("bit-exact") or "bit-exact" in text[:60]
    places = [text.index(what) for what in
              ("2,000", "90.0 %", "62.5 ×", "Layers", "Memory traffic",
               "nothing is measured on silicon")]
    assert places == sorted(places)
    assert "a <clip> & more.wav" in text
    assert "206.1 kB" in text and "5,316.9 kB" in text


def test_page_is_self_contained_and_has_both_schemes():
    page = html.render(made_up())
    assert "prefers-color-scheme: dark" in page
    assert "@import" not in page and "url(http" not in page
    outside = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert all(address.startswith(("http://www.w3.org/", "https://www.w3.org/", "http://purl.org",
                                   "http://creativecommons.org")) for address in outside)


def test_drawings_take_their_colours_from_the_page():
    page = html.render(made_up())
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 5
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert re.findall(r"#[0-9a-fA-F]{6}\b", drawing) == []
        assert "var(--" in drawing and "aria-label" in drawing


def test_same_result_gives_the_same_page():
    assert html.render(made_up()) == html.render(made_up())


def test_failure_is_shown_and_names_what_differs():
    result = made_up(bit_exact=False, reference_score=2.5,
                     differences=[f"layer conv{i} <here>" for i in range(20)])
    result["layers"][0]["bit_exact"] = False
    text = checked(result)
    assert "not bit-exact" in text and "The reference gives 2.500; 1 of 2 layers agree" in text
    assert "layer conv0 <here>" in text and "and 8 more" in text


def test_frames_without_audio_have_no_real_time_factor():
    result = made_up()
    for name in ("clip", "real_time_factor", "audio_s"):
        del result[name]
    text = checked(result)
    assert "real time" not in text and "Time at 25 MHz" in text


@pytest.mark.parametrize("bad, message", [
    (3, "Result must be an object, not int"),
    ({k: v for k, v in made_up().items() if k not in ("score", "energy")},
     "Result must hold score, energy; make it with 'bamac run CLIP.wav --json'")])
def test_unusable_results_are_refused(bad, message):
    with pytest.raises(html.ReportError) as error:
        html.render(bad)
    assert str(error.value) == message


def test_the_baseline_is_told_of_in_its_own_words():
    text = checked(made_up_int8())
    for words in ("Active inputs are values other than 0.", "products needed",
                  "fp32 is the same network on the same",
                  "kB with int8 maps"):
        assert words in text, words
    for words in ("bits that are 1", "bits read are 1", "For the paper's network", "binary"):
        assert words not in text, words
    first = made_up_int8()["energy"]["tables"]["horowitz-45nm"]
    assert f"{first['int8']['total_uj']:.1f} µJ 45 nm; fp32 " in text


def test_written_whole_or_not_at_all(tmp_path):
    report.write_report(made_up(), tmp_path / "r.html")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    with pytest.raises(html.ReportError):
        report.write_report({}, tmp_path / "s.html")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_summary(capsys):
    summary.print_summary(made_up(clip="[b]x.wav"))
    out = capsys.readouterr().out
    assert out.strip().splitlines()[0] == ("[b]x.wav  score 2.7183 from the hardware, 2.7183 from "
                                           "the reference: bit-exact")
    assert "62.5 x real time at 25 MHz" in out and "estimate" in out
    summary.print_summary(made_up(bit_exact=False, differences=["layer [x]"] * 7), brief=True)
    out = capsys.readouterr().out
    assert "NOT bit-exact" in out and "differs: layer [x]" in out
    assert "and 2 more differences" in out
