"""Time of features, labels and degradations on one core: ``python -m benchmarks.front_end``.

Writes ``reports/front-end.md``. Times are medians of several repetitions on one thread. The ratio
beside each is audio time over computing time: the number of streams that one core can process.
"""

from __future__ import annotations

import platform
import time
from datetime import date
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from bamac.data import degrade
from bamac.data.clips import set_level
from bamac.data.dnsmos import P808Teacher
from bamac.data.labels import pesq_of
from bamac.data.references import to_int16
from bamac.files import write_text
from bamac.frontends import audio
from bamac.frontends.dnsmos import features_p808_int8
from bamac.frontends.log_mel import features_int8
from bamac.load import demo_clips

REPETITIONS = 15
TARGET_MS = 20.0
REPORT = Path(__file__).parents[1] / "reports" / "front-end.md"


def _milliseconds(work):
    work()  # the first call makes tables and imports modules
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def measure():
    """``{what: milliseconds per 5 s clip}``, in the order of the report."""
    clip = audio.windows(audio.load_audio(next(p for p in demo_clips() if p.stem == "clean")))[0]
    clean, rng = to_int16(clip), np.random.default_rng(1)
    noisy = to_int16(set_level(clip + 0.01 * rng.standard_normal(clip.size), rng))
    teacher = P808Teacher()
    found = {"features, paper's front end": _milliseconds(lambda: features_int8(clip)),
             "features, DNSMOS P.808's front end": _milliseconds(
                 lambda: features_p808_int8(clip)),
             "label: wide-band PESQ": _milliseconds(lambda: pesq_of(clean, noisy)),
             "label: DNSMOS P.808": _milliseconds(lambda: teacher.score(clip))}
    for name in ("noise", "codec", "suppressor", "room", "loss"):
        material = degrade.Material(rooms=[rng.standard_normal(8000) / 90])
        found[f"degradation: {name}"] = _milliseconds(
            lambda name=name, material=material: degrade.degrade(clip, [name], 0.5, rng, material))
    return found


def report(found):
    lines = ["# Cost of features, labels and degradations", "",
             f"Made by `python -m benchmarks.front_end` on {date.today()}, one thread of "
             f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}; "
             f"median of {REPETITIONS}. Other work on the machine lengthens the times.", "",
             "| per 5 s clip | ms | times faster than real time |", "|---|---|---|"]
    lines += [f"| {name} | {ms:.1f} | {5000 / ms:,.0f} x |" for name, ms in found.items()]
    cost = found["features, paper's front end"]
    lines += ["", f"Target for the paper's features: under {TARGET_MS:g} ms; "
              f"{'met' if cost < TARGET_MS else 'missed'} with {cost:.1f} ms."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with threadpool_limits(1):
        text = report(measure())
    write_text(REPORT, text)
    print(text, end="")
