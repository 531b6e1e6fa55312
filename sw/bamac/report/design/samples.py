"""Results of the sample clips on the simulated hardware, kept by content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bamac import load, result, verify
from bamac.files import digest_of_sources
from bamac.fpga.cache import Cache

__all__ = ["program_key", "results", "results_cache"]

CLOCK_MHZ = 25.0
"""Clock of the kept results; a report states times for the clock that was placed."""


def results_cache():
    """Where results of simulations are kept."""
    return Cache(Cache().folder.parent / "results")


def program_key(program):
    """Digest of a program's contents, of its array, and of the gateware that runs it."""
    from bamac_sim.build import gateware_digest

    images = [hashlib.sha256(array.tobytes()).hexdigest()
              for array in (program.descriptors, program.weights)]
    return Cache.key(program.manifest, program.geometry.digest(), images, gateware_digest())


def results(program, network, clips, say):
    """Plain values of :class:`bamac.result.RunResult`, one for each audio file."""
    cache, found = results_cache(), []
    package = Path(result.__file__).parent
    sources = digest_of_sources(*(package / name for name in (
        "ir", "perf", "load.py", "verify.py", "result.py")))
    for clip in clips:
        frames, seconds = load.frames_of_clip(network.input, network.name, network.front_end,
                                              clip)
        key = cache.key(program_key(program), hashlib.sha256(frames.tobytes()).hexdigest(),
                        list(frames.shape), seconds, sources, result.versions())

        def make(temporary, clip=clip, frames=frames, seconds=seconds):
            say(f"simulating {Path(clip).name} on {program.geometry.name}")
            verified = verify.simulate_program(program, network, frames)
            made = result.build_result(network, program, frames, verified, clock_mhz=CLOCK_MHZ,
                                       seconds=seconds, audio=True)
            (temporary / "result.json").write_text(json.dumps(made.to_dict()), encoding="utf-8")

        folder = cache.get("clip", key, make)
        kept = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        found.append({"clip": Path(clip).name} | kept)
    return found
