"""Make the demonstration clips that ship with the package: ``python -m bamac.data.demo_clips``.

One read sentence from pocketsphinx's test data, as it is, with noise, and through a telephone
codec; and a second talker. The command prints the wide-band PESQ of each changed clip against the
unchanged one, which the README beside the clips quotes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import degrade
from .dataset import DEFAULT_CACHE
from .packages import fetch_packages

__all__ = ["CLIPS", "make"]

CLIPS = Path(__file__).parents[1] / "assets" / "clips"
PACKAGE = "pocketsphinx-testdata"
_DATA = "usr/share/pocketsphinx/test/data"
SENTENCE = f"{_DATA}/librivox/sense_and_sensibility_01_austen_64kb-0890.wav"
OTHERS = tuple(f"{_DATA}/librivox/sense_and_sensibility_01_austen_64kb-{n}.wav"
               for n in ("0870", "0920", "0930"))
SECOND = f"{_DATA}/goforward.raw"
SNR_DB = 12.0
CODEC = ("amr", "libopencore_amrnb", 8000, 4750)


def make(folder: str | Path = CLIPS,
         cache: str | Path = DEFAULT_CACHE) -> dict[str, float | None]:
    """Write the clips to ``folder``; return ``{name: PESQ or None}``."""
    import pesq
    import soundfile

    root = fetch_packages([PACKAGE], cache)[PACKAGE]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clean, rate = soundfile.read(root / SENTENCE)
    assert rate == 16000
    clean = clean[:80_000]
    second = np.fromfile(root / SECOND, "<i2") / 32768

    rng = np.random.default_rng(1)
    talkers = [np.resize(soundfile.read(root / path)[0], clean.size) for path in OTHERS]
    babble = sum(np.roll(talker, int(rng.integers(clean.size))) for talker in talkers)
    noise = babble / babble.std() + rng.standard_normal(clean.size) * 0.5
    clips = {"clean": clean, "noisy": degrade.mix(clean, noise, SNR_DB),
             "coded": degrade.code(clean, *CODEC), "second-talker": second}
    scores = {}
    for name, samples in clips.items():
        soundfile.write(folder / f"{name}.wav", np.clip(samples, -1, 1), 16000, subtype="PCM_16")
        changed = name in ("noisy", "coded")
        scores[name] = round(pesq.pesq(16000, clean, samples, "wb"), 2) if changed else None
    return scores


if __name__ == "__main__":
    for clip, score in make().items():
        print(f"{clip}.wav: {'unchanged recording' if score is None else f'PESQ {score}'}")
