"""What a design's report says, gathered as plain values.

Simulations of the sample clips are run, and kept by content. What takes many minutes (place and
route, gate-level activity) is taken from the cache, and run only when asked for; where it is
missing, the value is a ``Missing`` that names the command which makes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bamac import load
from bamac.compiler import CompileError, compile_network
from bamac.fpga import FpgaError, implement
from bamac.fpga.targets import Target
from bamac.perf.cycles import predict
from bamac.report.card import card_metrics
from bamac.result import versions
from bamac.shipped import ASSETS
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program

from . import samples
from .activity import activity_of
from .missing import Missing, NotKept, ReadOnlyCache

__all__ = ["Design", "Options", "collect", "compiled"]

TWIN = "paper-fp32.pt"
"""The checkpoint that becomes a network with 8-bit maps, see :mod:`bamac.nn.post_training`."""
BINARY = "paper-bam-w8.onnx"


@dataclass(frozen=True)
class Options:
    """What a report is made of.

    Parameters
    ----------
    target : name of the FPGA; see :mod:`bamac.fpga.targets`
    synth, activity : whether to run what is not in the cache
    seeds : placer seeds
    clips : audio files; default: those that ship with the package
    model : the network, if the program holds no copy
    card : model card (Markdown); default: that of the shipped model with the same network
    accuracy : ``accuracy.json`` of ``bamac evaluate --table``, for the spread over seeds
    """

    target: str = "ecp5-25k"
    synth: bool = False
    activity: bool = False
    seeds: int = 3
    clips: tuple = ()
    model: str | None = None
    card: str | None = None
    accuracy: str | None = None


@dataclass(frozen=True)
class Design:
    """Everything that the report shows; what could not be had is ``Missing``."""

    folder: Path
    options: Options
    program: object
    network: object
    about: dict
    results: list
    card: object
    accuracy: object
    implementation: object
    rivals: list
    activity: object
    versions: dict


def collect(folder, options=None, progress=None):
    """Gather a design's report.

    Parameters
    ----------
    folder : path of a program, ``NAME.bamac``
    options : Options, optional
    progress : callable, optional
        Called with a sentence before each step that may take long.

    Returns
    -------
    Design

    Raises
    ------
    bamac.errors.InputError
        If the network takes no audio, or is not the program's.
    """
    options, say = options or Options(), progress or (lambda text: None)
    program = Program.load(folder)
    network = load.network_of(folder, program, options.model)
    clips = [Path(clip) for clip in options.clips] or load.demo_clips()
    results = samples.results(program, network, clips, say)
    implementation = _implementation(program, options, say)
    return Design(
        folder=Path(folder), options=options, program=program, network=network,
        about=network.describe(), results=results,
        card=_card(network, options), accuracy=_accuracy(options), implementation=implementation,
        rivals=_rivals(program, network, clips[0], implementation, options, say),
        activity=activity_of(program, network, clips[0], options, say),
        versions=versions())


def _card(network, options):
    """``(file, heading, rows)`` of the model card."""
    path = Path(options.card) if options.card else _shipped_card(network)
    if path is None:
        return Missing("not measured: no model card is known for this network; name one with "
                       "`--card` (`bamac train` and `bamac distil` write `card.md`)")
    return (path.name, *card_metrics(path.read_text(encoding="utf-8")))


def _shipped_card(network):
    models = ASSETS / "models"
    for path in [models / TWIN] if network.int8_maps else sorted(models.glob("*.onnx")):
        card = path.with_suffix(".md")
        if card.is_file() and load.load_model(path).digest() == network.digest():
            return card
    return None


def _accuracy(options):
    """Rows of the accuracy table, several seeds each."""
    if options.accuracy is None:
        return Missing("not given: `--accuracy reports/accuracy.json` adds the spread over seeds")
    return json.loads(Path(options.accuracy).read_text(encoding="utf-8"))["rows"]


def _implementation(program, options, say):
    """Place and route with as many of the wanted seeds as there are."""
    command = f"`bamac synth NAME.bamac --target {options.target} --seeds {options.seeds}`"
    target = Target.named(options.target)
    if options.synth:
        say(f"placing and routing for {target.name}, {options.seeds} seeds")
        try:
            return implement(program.geometry, target, program=program, seeds=options.seeds)
        except FpgaError as error:
            return Missing(f"{error} (`--target` takes a larger device)")
    for seeds in range(options.seeds, 0, -1):
        try:
            return implement(program.geometry, target, program=program, seeds=seeds,
                             cache=ReadOnlyCache())
        except NotKept as step:
            if str(step) == "synth":
                break
        except FpgaError as error:
            return Missing(f"{error} (`--target` takes a larger device)")
    return Missing(f"not measured; run {command}, or this command with `--synth`")


def _rivals(program, network, clip, implementation, options, say):
    """This array and every preset of the same tile and channels: resources, cycles for a clip.

    Presets of int8 lanes run the network's twin with 8-bit maps, those of binary lanes its twin
    with binary maps, if one ships.
    """
    own = program.geometry
    same = [g for g in Geometry.presets().values()
            if (g.tile_rows, g.tile_cols, g.channels) == (own.tile_rows, own.tile_cols,
                                                          own.channels) and g.name != own.name]
    other_kind = any(g.int8_maps != own.int8_maps for g in same)
    twin = _twin(network) if other_kind else None
    rows = []
    for geometry in [own, *same]:
        try:
            other = program if geometry is own else compiled(network, twin, geometry)
        except CompileError as error:
            rows.append({"geometry": geometry, "cycles": None, "mapped": Missing(str(error))})
            continue
        runs = network if geometry.int8_maps == own.int8_maps else twin
        placed = geometry is own and isinstance(implementation, dict)
        rows.append({"geometry": geometry, "cycles": _cycles(other, runs, clip),
                     "mapped": implementation if placed else _mapped(other, options, say)})
    return rows


def _cycles(program, network, clip):
    """Cycles for a clip, from the model."""
    if not program.geometry.traits.event_driven:
        return predict(program)["cycles"]
    frames, _ = load.frames_of_clip(network.input, network.name, network.front_end, clip)
    return predict(program, network, frames)["cycles"]


def compiled(network, twin, geometry):
    """The network's program for a geometry, or its twin's where maps must be of the other kind.

    Raises
    ------
    CompileError
        If one of them cannot be mapped, or there is no twin.
    """
    if network.int8_maps == geometry.int8_maps:
        return compile_network(network, geometry)
    if twin is None:
        kind = "8-bit" if geometry.int8_maps else "binary"
        raise CompileError(f"no network of this shape with {kind} maps ships with bamac")
    return compile_network(twin, geometry)


def _twin(network):
    """The shipped network of the same shape with maps of the other kind, or None."""
    def shape(net):
        kept = ("kind", "inputs", "outputs", "kernel", "stride", "pool", "map")
        return [[layer.get(name) for name in kept]
                for layer in net.describe()["layers"]]

    path = ASSETS / "models" / (BINARY if network.int8_maps else TWIN)
    twin = load.load_model(path) if path.is_file() else None
    return twin if twin is not None and shape(twin) == shape(network) else None


def _mapped(program, options, say):
    """Resources per module after mapping, not placed."""
    name = program.geometry.name
    if options.synth:
        say(f"mapping {name} for {options.target}")
    try:
        return implement(program.geometry, options.target, program=program, place=False,
                         cache=None if options.synth else ReadOnlyCache())
    except NotKept:
        return Missing(f"not measured; run this command with `--synth` ({name})")
    except FpgaError as error:
        return Missing(str(error))
