"""Degradations of speech, each with one severity from 0 (hardly audible) to 1 (hardly usable).

Every function takes float samples at 16 kHz, a severity, a ``numpy`` generator and the material of
its split (:class:`Material`), and returns the degraded samples and the parameters it drew, for the
manifest. What varies beside the severity (kind of noise, codec, room) is drawn from the generator.

Some families (:data:`TEST_ONLY`) and some codecs (:data:`TEST_ONLY_CODECS`) are drawn for test
clips alone: they show how a network does on damage that it has never met.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["DEGRADATIONS", "Material", "TEST_ONLY", "TEST_ONLY_CODECS", "code", "degrade",
           "draw_chain", "mix"]

RATE = 16_000
TARGET_DB = -26.0

Degraded = tuple[np.ndarray, dict[str, Any]]
"""Degraded samples, and the parameters that were drawn, as plain values."""


@dataclass
class Material:
    """What degradations may draw on in one split.

    ``effects`` and ``music`` hold sounds that become arrays and have a ``name``; ``talkers`` hold
    functions ``(rng) -> samples`` with a ``name``, for babble.
    """

    talkers: list = field(default_factory=list)
    effects: list = field(default_factory=list)
    music: list = field(default_factory=list)
    rooms: list = field(default_factory=list)  # room responses, float64 samples
    held_out: bool = False  # whether TEST_ONLY families and codecs may be drawn


def power_db(samples: np.ndarray) -> float:
    """Mean power over the blocks that are within 25 dB of the loudest, in dB."""
    blocks = samples[:samples.size // 320 * 320].reshape(-1, 320).astype(np.float64)
    power = (blocks**2).mean(axis=1) + 1e-12
    return 10 * np.log10(power[power > power.max() * 10**-2.5].mean())


def mix(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio, both measured where they are active."""
    gain = 10 ** ((power_db(speech) - power_db(noise) - snr_db) / 20)
    return speech + gain * noise


def _fit(samples, size, rng):
    """A stretch of ``size`` samples from a random place, repeated if the source is short."""
    if samples.size <= size:
        return np.resize(np.roll(samples, int(rng.integers(samples.size))), size)
    start = int(rng.integers(samples.size - size))
    return samples[start:start + size]


def _coloured(size, exponent, rng):
    spectrum = np.fft.rfft(rng.standard_normal(size))
    shape = np.maximum(np.arange(spectrum.size), size / RATE * 40.0) ** (-exponent / 2)
    return np.fft.irfft(spectrum * shape, size)


def _clicks(size, rng):
    """Impulsive noise: short decaying bursts at random times, some ten per second."""
    noise = np.zeros(size + 400)
    decay = np.exp(-np.arange(400) / rng.uniform(8, 80))
    for start in rng.integers(size, size=int(size / RATE * rng.uniform(2, 25)) + 1):
        noise[start:start + 400] += rng.normal() * decay * rng.standard_normal(400)
    return noise[:size]


def _hum(size, rng):
    t = np.arange(size) / RATE
    base = rng.choice([50.0, 60.0, 100.0, 120.0])
    return sum(np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6.28)) / k
               for k in range(1, 12)) + 0.05 * rng.standard_normal(size)


def draw_noise(size: int, rng: np.random.Generator,
               material: Material) -> Degraded:
    """A noise of a random kind: samples, and the kind with its sources for the manifest."""
    kinds = ["white", "pink", "brown", "hum", "clicks"]
    kinds += ["effects"] * 4 * bool(material.effects) + ["music"] * 2 * bool(material.music)
    kinds += ["babble"] * 3 * bool(material.talkers)
    kind = str(rng.choice(kinds))
    sources = []
    if kind == "hum":
        noise = _hum(size, rng)
    elif kind == "clicks":
        noise = _clicks(size, rng)
    elif kind == "babble":
        chosen = [material.talkers[int(i)] for i in rng.integers(len(material.talkers),
                                                                 size=int(rng.integers(2, 7)))]
        noise = sum(_fit(talker(rng), size, rng) for talker in chosen)
        sources = [talker.name for talker in chosen]
    elif kind in ("effects", "music"):
        pool = getattr(material, kind)
        piece = pool[int(rng.integers(len(pool)))]
        noise = _fit(np.asarray(piece, np.float64), size, rng)
        noise = noise + 1e-6 * rng.standard_normal(size)
        sources = [piece.name]
    else:
        noise = _coloured(size, {"white": 0, "pink": 1, "brown": 2}[kind], rng)
    return noise, {"noise": kind, **({"sources": sources} if sources else {})}


def add_noise(samples: np.ndarray, severity: float, rng: np.random.Generator,
              material: Material) -> Degraded:
    noise, kind = draw_noise(samples.size, rng, material)
    snr = 46 - 52 * severity
    return mix(samples, noise, snr), {**kind, "snr_db": round(snr, 1)}


# Best first: (container, codec, sample rate, bit rate). A severity picks a place in the list.
CODECS = (
    ("ogg", "libopus", 16000, 48000), ("wav", "adpcm_g722", 16000, 64000),
    ("mp3", "libmp3lame", 16000, 40000), ("ogg", "libopus", 16000, 24000),
    ("adts", "aac", 16000, 24000), ("mp3", "libmp3lame", 16000, 24000),
    ("ogg", "libopus", 16000, 16000), ("ogg", "libopus", 16000, 12000),
    ("wav", "pcm_mulaw", 8000, 64000), ("wav", "adpcm_g726", 8000, 32000),
    ("mp3", "libmp3lame", 16000, 16000), ("amr", "libopencore_amrnb", 8000, 12200),
    ("ogg", "libopus", 16000, 9000), ("wav", "adpcm_g726", 8000, 24000),
    ("amr", "libopencore_amrnb", 8000, 7400), ("ogg", "libopus", 8000, 8000),
    ("amr", "libopencore_amrnb", 8000, 4750), ("mp3", "libmp3lame", 16000, 8000),
    ("wav", "adpcm_g726", 8000, 16000), ("ogg", "libopus", 8000, 6000),
)
TEST_ONLY_CODECS = ("aac", "adpcm_g726")


def code(samples: np.ndarray, container: str, codec: str, rate: int,
         bit_rate: int) -> np.ndarray:
    """Encode and decode in memory; the same number of samples comes back, at 16 kHz."""
    import av
    import soxr

    narrow = soxr.resample(samples, RATE, rate) if rate != RATE else samples
    pcm = np.rint(np.clip(narrow, -1, 1) * 32767).astype(np.int16)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        if codec == "adpcm_g726":
            stream.options = {"code_size": str(bit_rate // 8000)}
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono",
                                      rate=rate, frame_size=stream.codec_context.frame_size or 320)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = rate
        frame.pts = 0
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    buffer.seek(0)
    decoded, decoded_rate = [], rate
    with av.open(buffer) as coded:
        to_float = av.AudioResampler(format="flt", layout="mono")
        for frame in coded.decode(audio=0):
            for part in to_float.resample(frame):
                decoded.append(part.to_ndarray()[0])
                decoded_rate = part.sample_rate
    result = np.concatenate(decoded).astype(np.float64)
    if decoded_rate != RATE:
        result = soxr.resample(result, decoded_rate, RATE)
    return _realign(result, samples)


def _realign(coded, samples):
    """Take out a codec's delay (found by correlation) and match the length."""
    size = 1 << (max(coded.size, samples.size) * 2 - 1).bit_length()
    cross = np.fft.irfft(np.fft.rfft(coded, size) * np.conj(np.fft.rfft(samples, size)), size)
    reach = 1600
    lags = np.concatenate([cross[:reach], cross[-reach:]])
    lag = int(np.argmax(lags))
    lag = lag if lag < reach else lag - 2 * reach
    shifted = coded[lag:] if lag >= 0 else np.concatenate([np.zeros(-lag), coded])
    out = np.zeros(samples.size)
    out[:min(out.size, shifted.size)] = shifted[:out.size]
    return out


def add_codec(samples: np.ndarray, severity: float, rng: np.random.Generator,
              material: Material) -> Degraded:
    codecs = [c for c in CODECS if material.held_out or c[1] not in TEST_ONLY_CODECS]
    place = severity * (len(codecs) - 1) + rng.normal(0, 1.2)
    chosen = codecs[int(np.clip(round(place), 0, len(codecs) - 1))]
    return code(samples, *chosen), {"codec": chosen[1], "rate": chosen[2], "bit_rate": chosen[3]}


def add_clipping(samples: np.ndarray, severity: float, rng: np.random.Generator,
                 material: Material) -> Degraded:
    gain = 10 ** (severity * 40 / 20)
    peak = np.abs(samples).max() + 1e-9
    soft = bool(rng.random() < 0.3)
    driven = samples * gain / peak
    clipped = np.tanh(driven) if soft else np.clip(driven, -1, 1)
    return clipped / gain * peak, {"clip_gain_db": round(severity * 40, 1), "soft": soft}


def add_band_limit(samples: np.ndarray, severity: float, rng: np.random.Generator,
                   material: Material) -> Degraded:
    from scipy.signal import butter, sosfilt

    high = 7600 * (900 / 7600) ** severity
    low = 30 + severity * rng.uniform(0, 600)
    sos = butter(6, [low, high], "bandpass", fs=RATE, output="sos")
    return sosfilt(sos, samples), {"band_hz": [round(low), round(high)]}


def add_packet_loss(samples: np.ndarray, severity: float, rng: np.random.Generator,
                    material: Material) -> Degraded:
    """Packets of 20 ms lost in bursts (two-state Gilbert model), muted or repeated with decay."""
    rate = 0.004 + 0.4 * severity**2
    leave = rng.uniform(0.35, 0.9)
    enter = rate * leave / (1 - rate)
    repeat = bool(rng.random() < 0.6)
    out, lost, last, fade = samples.copy(), False, np.zeros(320), 1.0
    count = 0
    for start in range(0, out.size - 319, 320):
        lost = rng.random() < (1 - leave if lost else enter)
        if lost:
            fade *= 0.6
            out[start:start + 320] = last * fade if repeat else 0
            count += 1
        else:
            last, fade = samples[start:start + 320], 1.0
    return out, {"loss": round(count / (out.size // 320), 3), "repeat": repeat}


def add_room(samples: np.ndarray, severity: float, rng: np.random.Generator,
             material: Material) -> Degraded:
    if not material.rooms:
        return add_noise(samples, severity, rng, material)
    rooms = material.rooms
    place = int(np.clip(round(severity * (len(rooms) - 1) + rng.normal(0, 0.05 * len(rooms))), 0,
                        len(rooms) - 1))
    from scipy.signal import fftconvolve

    wet = fftconvolve(samples, rooms[place])[:samples.size]
    wet *= 10 ** ((power_db(samples) - power_db(wet)) / 20)
    share = min(1.0, 0.15 + severity)
    return (1 - share) * samples + share * wet, {"room": place, "wet": round(share, 2)}


def add_suppressor(samples: np.ndarray, severity: float, rng: np.random.Generator,
                   material: Material) -> Degraded:
    """Noise, then a noise suppressor that leaves its artefacts."""
    import noisereduce

    noise, kind = draw_noise(samples.size, rng, material)
    snr = 40 - 42 * severity
    stationary = bool(rng.random() < 0.5)
    strength = float(rng.uniform(0.7, 1.0))
    cleaned = noisereduce.reduce_noise(y=mix(samples, noise, snr), sr=RATE, stationary=stationary,
                                       prop_decrease=strength, n_fft=512)
    return cleaned, {**kind, "snr_db": round(snr, 1),
                     "suppressor": "stationary" if stationary else "adaptive",
                     "strength": round(strength, 2)}


def add_modulated_noise(samples: np.ndarray, severity: float, rng: np.random.Generator,
                        material: Material) -> Degraded:
    """Noise in proportion to the signal, as ITU-T P.810's reference unit makes it."""
    q = 48 - 48 * severity
    return (samples * (1 + 10 ** (-q / 20) * rng.standard_normal(samples.size)),
            {"q_db": round(q, 1)})


def add_coarse_steps(samples: np.ndarray, severity: float, rng: np.random.Generator,
                     material: Material) -> Degraded:
    bits = 13 - 9 * severity
    step = np.abs(samples).max() * 2.0 ** (1 - bits)
    return np.round(samples / step) * step, {"bits": round(bits, 1)}


# name: (function, relative frequency, place in the chain)
DEGRADATIONS = {
    "room": (add_room, 1.2, 0),
    "noise": (add_noise, 4.0, 1),
    "suppressor": (add_suppressor, 1.2, 2),
    "clipping": (add_clipping, 1.0, 3),
    "modulated": (add_modulated_noise, 1.0, 4),
    "band": (add_band_limit, 0.8, 5),
    "codec": (add_codec, 3.0, 6),
    "steps": (add_coarse_steps, 1.0, 7),
    "loss": (add_packet_loss, 1.5, 8),
}
TEST_ONLY = ("modulated", "steps")
"""Families that no training or validation clip has."""


def draw_chain(rng: np.random.Generator, held_out: bool = False) -> list[str]:
    """Names of one to three degradations, in the order in which a call meets them.

    ``held_out``: whether :data:`TEST_ONLY` families may be among them.
    """
    count = int(rng.choice([1, 2, 3], p=[0.55, 0.33, 0.12]))
    names = [name for name in DEGRADATIONS if held_out or name not in TEST_ONLY]
    weights = np.array([DEGRADATIONS[name][1] for name in names])
    chosen = rng.choice(names, size=count, replace=False, p=weights / weights.sum())
    return sorted((str(name) for name in chosen), key=lambda name: DEGRADATIONS[name][2])


def degrade(samples: np.ndarray, chain: Sequence[str], severity: float,
            rng: np.random.Generator,
            material: Material) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Apply a chain of degradations, each at the common severity (less in longer chains)."""
    steps = []
    for name in chain:
        share = float(np.clip(severity / len(chain) ** 0.35, 0, 1))
        samples, parameters = DEGRADATIONS[name][0](samples, share, rng, material)
        samples = np.asarray(samples, np.float64)
        steps.append({"kind": name, **parameters})
    return samples, steps
