"""What CONTRIBUTING.md says of extensions: one of each, from outside the package.

Nothing of the core is changed here. Each extension is what a package of one's own would hold: a
datapath, a layer type with its QONNX operator, a front end, and a task. The registries are put
back after each test, since other tests look at what the package itself registers.
"""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from amaranth import Module, Signal, signed
from onnx import helper
from toy_layer import Pointwise

import bamac_hw.datapath.registry as datapath_registry
import bamac_hw.traits as traits_registry
from bamac import tasks
from bamac.compiler import compile_network, lower
from bamac.data.labels import Label
from bamac.frontends import registry as front_end_registry
from bamac.frontends.registry import FrontEndSpec
from bamac.ir import reference
from bamac.ir.network import Conv2d, Dense, FrontEnd, InputSpec, IntegerNetwork
from bamac.ir.random_networks import random_case
from bamac.perf.cycles import predict
from bamac.qonnx import exporter, importer
from bamac.qonnx.operators import integer_weights, operator
from bamac.qonnx.operators import registry as operator_registry
from bamac.qonnx.state import ConvDraft
from bamac.tasks import registry as task_registry
from bamac.verify import simulate_program
from bamac_hw.datapath import GatedDatapath, LaneArray, register
from bamac_hw.geometry import Geometry, GeometryError
from bamac_hw.traits import DatapathTraits


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """Put every registry back behind the test."""
    for holder, name in ((traits_registry, "_VARIANTS"), (datapath_registry, "_VARIANTS"),
                         (lower, "_LOWERINGS"), (operator_registry, "_OPERATORS"),
                         (front_end_registry._SPECS, "_items"), (task_registry._TASKS, "_items")):
        monkeypatch.setattr(holder, name, dict(getattr(holder, name)))


# --- a datapath: lanes that subtract the negative of their operand


class SubtractingLaneArray(LaneArray):
    """``acc -= -operand`` where ``LaneArray`` has ``acc += operand``; ports and timing are its."""

    def elaborate(self, platform):
        m = Module()
        for lane, out in enumerate(self.acc):
            pixel, channel = divmod(lane, len(self.operand))
            acc = Signal(signed(len(out)), name=f"acc_{pixel}_{channel}", reset_less=True)
            operand = self.gate[channel] & (self.operand[channel] | self.fill[channel])
            with m.If(self.clear):
                m.d.sync += acc.eq(0)
            with m.Elif(self.en[pixel]):
                m.d.sync += acc.eq(acc - (-operand.as_signed()))
            m.d.comb += out.eq(acc)
        return m


class SubtractingDatapath(GatedDatapath):
    """Gated lanes' operands in front of other lanes."""

    def build_lanes(self):
        return SubtractingLaneArray(**self.lane_sizes)


class SubtractingTraits(DatapathTraits):
    """What a step offers and costs is as of gated lanes."""

    lane = "subtracting"
    title = "subtracting lanes (one weight taken away, negated, per lane and cycle)"


def test_a_lane_from_outside_is_bit_exact_and_counted_on_the_rtl():
    with pytest.raises(GeometryError, match="lane must be one of .*, not 'subtracting'"):
        Geometry("mine", lane="subtracting")
    register(SubtractingTraits(), SubtractingDatapath)
    geometry = Geometry("mine", channels=8, weight_rows=8192, line_words=2048, lane="subtracting")
    case = random_case(7, acc_bits=geometry.acc_bits, pools=((1, 1), (2, 2)))
    program = compile_network(case.network, geometry)
    verified = simulate_program(program, case.network, case.frames)
    assert verified.differences == []
    assert all(verified.compared.values())
    assert verified.cycles == predict(program, case.network, case.frames)["cycles"]


# --- a layer type (toy_layer.py registers what the array runs in its place), and its operator


class PointwiseDraft(ConvDraft):
    """The layer while the importer collects its numbers."""

    def build(self, name, carried):
        return Pointwise(name, self.weights[:, :, 0, 0], self.thresholds)


def import_pointwise(context, node):
    """Node ``Pointwise`` of the domain ``example``: weights (out, in) at input 1."""
    weights, scales = integer_weights(context, 1, 0, 2)
    shape = (1, len(weights), *context.state.shape[2:])
    context.open_layer(PointwiseDraft(node.name, weights[:, :, None, None], 1, (0, 0, 0, 0)), shape,
                       scales)


def pointwise_network(first):
    rng = np.random.default_rng(3)
    return IntegerNetwork("pointwise", InputSpec(12, 10, 4), (
        first(rng),
        Conv2d("conv2", rng.integers(-9, 10, (6, 5, 3, 3)), rng.integers(-6, 7, 6),
               padding=(1, 1, 1, 1), pool=(2, 2), global_pool="sum"),
        Dense("head", rng.integers(-20, 21, (2, 6)), rng.integers(-50, 50, 2))))


def test_a_layer_from_outside_is_bit_exact_on_the_rtl_under_its_own_name():
    weights = np.array([[7], [-20], [99], [1], [-3]])
    network = pointwise_network(lambda rng: Pointwise("mix", weights, 3 * weights[:, 0]))
    geometry = Geometry("quad", channels=4, weight_rows=8192, line_words=2048)
    program = compile_network(network, geometry)
    frames = np.random.default_rng(4).integers(-8, 8, (2, 12, 10))
    verified = simulate_program(program, network, frames)
    assert verified.differences == []
    assert verified.compared["mix"] == 2 * 5 * 12 * 10
    # The layer's own arithmetic decides, not what it is lowered to.
    wanted = (np.einsum("oi,irc->orc", network.layers[0].weights, frames[:1])
              >= network.layers[0].thresholds[:, None, None])
    assert np.array_equal(reference.run(network, frames[0]).layers["mix"].bits, wanted)


def test_an_operator_from_outside_is_imported_as_that_layer():
    as_conv = pointwise_network(lambda rng: Conv2d(
        "mix", rng.integers(-99, 100, (5, 1, 1, 1)), rng.integers(-300, 300, 5)))
    model = exporter.model(as_conv)
    node = next(node for node in model.graph.node if node.name == "mix")
    weights = np.asarray(as_conv.layers[0].weights[:, :, 0, 0], np.float32)
    model.graph.initializer.append(helper.make_tensor("mix/own", 1, weights.shape, weights.ravel()))
    node.CopyFrom(helper.make_node("Pointwise", [node.input[0], "mix/own"], list(node.output),
                                   name="mix", domain="example"))
    model.opset_import.append(helper.make_opsetid("example", 1))
    operator("Pointwise", domain="example")(import_pointwise)
    network = importer.from_model(model)
    assert isinstance(network.layers[0], Pointwise)
    frames = np.random.default_rng(5).integers(-8, 8, (12, 10))
    assert np.array_equal(reference.run(network, frames).outputs,
                          reference.run(as_conv, frames).outputs)


# --- a front end and a task


def mean_levels(samples):
    """Mean of each millisecond, in hundredths of full scale: int8 (16, 10)."""
    return np.clip(np.rint(100 * samples.reshape(16, 10, 16).mean(axis=2)), -128, 127).astype(
        np.int8)


LEVELS = FrontEndSpec(FrontEnd("levels", 0.0, 1.0), 160 * 16, 16, 10, 160, 160, mean_levels)


class ToneData:
    """Frames of tones; the label is how loud they are."""

    def sizes(self, clips):
        return {"train": clips, "val": clips, "test": clips}

    def build(self, cache, **options):
        return cache

    def folder(self, training):
        return training["cache"]

    def load(self, folder, split, clips=None):
        count = clips or 8
        loudness = np.linspace(0.1, 0.9, count)
        tone = np.sin(np.arange(LEVELS.window) / 40)
        frames = np.stack([LEVELS.compute(level * tone) for level in loudness])
        return frames, loudness, [{"degradations": []} for _ in range(count)]


def test_a_front_end_from_outside_makes_a_networks_frames(tmp_path):
    import soundfile

    from bamac.load import frames_of_clip

    front_end_registry.register(LEVELS)
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(np.arange(LEVELS.window) / 40), 16_000,
                    subtype="FLOAT")
    frames, seconds = frames_of_clip(InputSpec(16, 10), "mine", LEVELS.front_end,
                                     tmp_path / "tone.wav")
    assert seconds == pytest.approx(0.16)
    tone = 0.5 * np.sin(np.arange(LEVELS.window) / 40)
    assert np.array_equal(frames[0], np.rint(100 * tone.reshape(16, 10, 16).mean(axis=2)))


def test_a_task_from_outside_is_found_by_a_checkpoints_metadata():
    front_end_registry.register(LEVELS)
    loudness = tasks.register(tasks.Task(
        "loudness", "How loud a tone is", "paper", LEVELS,
        Label("loudness", "loudness", (0.0, 1.0), "full scale"), ToneData()))
    assert "loudness" in tasks.names()
    assert tasks.of_metadata({"task": "loudness"}) is loudness
    assert tasks.of_metadata(loudness.metadata()) is loudness
    features, labels, entries = loudness.data.load("", "test", 4)
    assert features.shape == (4, 16, 10) and features.dtype == np.int8
    assert len(labels) == len(entries) == 4


# --- the command line loads them


def test_the_command_line_loads_a_package_that_is_installed(tmp_path):
    (tmp_path / "my_lanes.py").write_text(textwrap.dedent('''
        from bamac_hw.datapath import GatedDatapath, register
        from bamac_hw.traits import DatapathTraits


        class MyTraits(DatapathTraits):
            lane = "mine"
            title = "my lanes"


        register(MyTraits(), GatedDatapath)
    '''))
    about = tmp_path / "my_lanes-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lanes\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bamac.plugins]\nlanes = my_lanes\n")
    (tmp_path / "mine.toml").write_text('lane = "mine"\n')
    paths = [str(tmp_path), *map(os.path.abspath, sys.path)]
    done = subprocess.run(
        [sys.executable, "-m", "bamac", "inspect", "mine.toml"], cwd=tmp_path, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout

    # So do the processes of a sweep.
    done = subprocess.run(
        [sys.executable, "-m", "bamac", "explore", "paper-bam-w8", "--lanes", "mine", "--walks",
         "dense", "--tiles", "2x2", "--channels", "32", "--jobs", "1", "--json"], cwd=tmp_path,
        text=True, capture_output=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "BAMAC_CACHE": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in json.loads(done.stdout)["rows"]] == ["ok"]
