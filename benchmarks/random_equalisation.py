"""Agreement with PESQ when recordings sound brighter or duller, or rumble.

``python -m benchmarks.random_equalisation MODEL.pt ... [--audio N]`` scores the test clips as they
are, and with a smooth random gain over frequency of 1.5 and 3 dB (standard deviation at seven
points), drawn for each clip. N of them are also made as audio and scored with and without rumble
below 45 Hz, 20 to 40 dB below the speech. PESQ of the same clips shows how audible the rumble is.
Writes ``reports/random-equalisation.md``.
"""

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import signal

from bamac import tasks
from bamac.data import clips, degrade, sources
from bamac.data.dataset import DEFAULT_CACHE
from bamac.evaluation.metrics import agreement
from bamac.files import write_text
from bamac.frontends.log_mel import STEPS, features_int8
from bamac.nn.checkpoint import DEFAULT_MODEL, load_network
from bamac.nn.predict import predict
from bamac.training.pesq_augmentation import with_gain

REPORT = Path(__file__).parents[1] / "reports" / "random-equalisation.md"
DEVIATIONS = (0.0, 1.5, 3.0)
"""Standard deviations, in dB, of the random equalisation."""
KNOTS = np.linspace(0, 119, 7)
"""Mel bands at which gains are drawn; between them they are interpolated."""
STEPS_PER_DB = STEPS * np.log(10) / 10


def equaliser_gain(rng, deviation):
    """Gain, int16 (120,) in feature steps, smooth over the mel bands; ``deviation`` dB at knots."""
    gains = np.interp(np.arange(120), KNOTS, rng.normal(0, deviation, KNOTS.size))
    return np.rint(gains * STEPS_PER_DB).astype(np.int16)


def equalised(features, deviation, seed=1):
    """The features, int8 (n, frames, 120), each clip with a random gain of its own."""
    if not deviation:
        return features
    rng = np.random.default_rng(seed)
    return np.stack([with_gain(clip, equaliser_gain(rng, deviation)) for clip in features])


def rumbling(samples, rng):
    """The clip with noise below 45 Hz, 20 to 40 dB below the clip's power."""
    low_pass = signal.butter(8, 45, fs=16_000, output="sos")
    noise = signal.sosfilt(low_pass, rng.standard_normal(samples.size))
    level = degrade.power_db(samples) - rng.uniform(20, 40)
    noise *= 10 ** ((level - degrade.power_db(noise)) / 20)
    return np.clip(samples + noise, -1, 1)


def audio_clips(count, data_seed):
    """Test clips as audio: features without and with rumble, labels, and the change of PESQ."""
    import pesq

    folder = sources.prepare(DEFAULT_CACHE, None, None)
    plain, rumble, labels, change = [], [], [], []
    for pair in range(-(-count // 2)):
        clean, versions = clips.make_pair(folder, "test", pair, data_seed)
        for degraded, entry in versions:
            samples = degraded / 32768.0
            noisy = rumbling(samples, np.random.default_rng([1, len(labels)]))
            plain.append(features_int8(samples))
            rumble.append(features_int8(noisy))
            labels.append(entry["pesq"])
            heard = pesq.pesq(16000, clean, np.rint(noisy * 32767).astype(np.int16), "wb")
            change.append(heard - entry["pesq"])
    return np.stack(plain), np.stack(rumble), np.array(labels), np.array(change)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_equalisation",
                                     description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, default=[Path(DEFAULT_MODEL)])
    parser.add_argument("--audio", type=int, default=200, help="clips that get a rumble")
    arguments = parser.parse_args()
    plain, rumble, audio_labels, change = audio_clips(arguments.audio, 1)
    lines = ["# Random equalisation", "",
             f"Made by `python -m benchmarks.random_equalisation --audio {arguments.audio}` on "
             f"{time.strftime('%Y-%m-%d')} with bamac {version('bamac')}, torch "
             f"{version('torch')}. Test clips of [data.md](data.md), with a smooth random gain "
             "over frequency (its standard deviation at seven points); and the first "
             f"{len(audio_labels)} of them without and with rumble (noise below 45 Hz, 20 to 40 dB "
             "below the clip), labelled as without. References of the data set all have one "
             "long-term spectrum and no rumble; recordings of users do not.", "",
             f"PESQ itself moves by {change.mean():+.3f} on average, and by "
             f"{np.abs(change).mean():.3f} in magnitude, when those clips get the rumble; louder "
             "rumble it does hear.", "",
             "| model | " + " | ".join(f"{c:g} dB: PCC | RMSE" for c in DEVIATIONS)
             + f" | {len(audio_labels)} clips: PCC | RMSE | with rumble: PCC | RMSE |",
             "|---" * (5 + 2 * len(DEVIATIONS)) + "|"]
    for path in arguments.models:
        network, metadata = load_network(path)
        training = metadata["training"]
        data = tasks.of_metadata(metadata).data
        features, labels, _ = data.load(data.folder(training), "test")
        cells = []
        for changed, truth in [*((equalised(features, c), labels) for c in DEVIATIONS),
                               (plain, audio_labels), (rumble, audio_labels)]:
            found = agreement(predict(network, changed), truth)
            cells += [f"{found['pcc']:.3f}", f"{found['rmse']:.3f}"]
        lines.append(f"| {path.stem if path.stem != 'model' else path.parent.name} | "
                     + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    write_text(REPORT, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
