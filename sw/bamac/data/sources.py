"""Recorded speech and noise from Debian packages, or from a folder of your own.

The packages need no root: ``apt-get download`` fetches them and ``dpkg -x`` unpacks them into a
cache folder (of the one that holds gigabytes, :data:`ARCHIVES`, only the speech is kept). Each
*voice* is one talker in one package and belongs to one split for ever; whole voices, and Italian,
Russian, Romanian, Greek and Danish as languages, never occur in training.

:func:`prepare` decodes everything once, at 16 kHz, into one int16 array per voice, and drops what
cannot serve as a clean reference for PESQ: very short or quiet utterances, and those whose own
noise floor is less than 20 dB below the speech.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

__all__ = ["ARCHIVES", "NOISE_PACKAGES", "RECIPE", "RECIPES", "SPLITS", "SourceError", "VOICES",
           "Voice", "WITHOUT_PESQ", "fetch_packages", "load_prepared", "package_voices", "prepare",
           "read_any", "recipe_of", "source_tag"]

SPLITS = ("train", "val", "test")
RATE = 16_000
RECIPES = {6: "37 training talkers; the top of their band fades from 7.3 kHz on",
           7: "28 more training talkers; all of the band up to 8 kHz",
           8: "recipe 7's recordings for DNSMOS P.808 alone: no PESQ, no gate"}
"""Recipes of the training clips, by number. A recipe's clips never change."""
WITHOUT_PESQ = (8,)
"""Recipes whose training clips have the label of DNSMOS P.808 alone."""
RECIPE = 6
"""The one that is used where none is asked for: that of the default network."""


def recipe_of(training):
    """Recipe of a run's training clips; runs from before there was a choice do not say it."""
    return training.get("data_recipe", 6)


class SourceError(RuntimeError):
    """Speech material cannot be fetched or holds nothing usable."""


@dataclass(frozen=True)
class Voice:
    """One talker of one package, with the split that he or she belongs to.

    ``since`` is the first recipe that has the voice.
    """

    name: str
    package: str
    pattern: str
    language: str
    licence: str
    family: str
    split: str
    since: int = 6


_SOUNDS = "usr/share/asterisk/sounds"
_STAMPS = "usr/share/tuxpaint/stamps"
_HEDGEWARS = "usr/share/games/hedgewars/Data/Sounds"
_KLETTRES = "usr/share/klettres"


def _studio(package, folder, name, language, split, licence="CC-BY-SA-3.0"):
    return Voice(name, package, f"{_SOUNDS}/{folder}/**/*.g722", language, licence, "studio",
                 split)


def _stamps(language, split):
    return Voice(f"stamps-{language}", "tuxpaint-stamps-default",
                 f"{_STAMPS}/**/*_{language}.ogg", {"GB": "en"}.get(language, language), "GPL-2",
                 "home", split)


def _acted(folder, language, split):
    return Voice(f"hedgewars-{folder.lower()}", "hedgewars-data",
                 f"{_HEDGEWARS}/voices/{folder}/*.ogg", language, "GPL-2", "acted", split)


def _tubers(language, split):
    return Voice(f"tubers-{language}", "ktuberling-data",
                 f"usr/share/ktuberling/sounds/{language}/*.[ow]*", language, "GPL-2+", "home",
                 split)


def _fish(role, split):
    return Voice(f"fish-cs-{role}", "fillets-ng-data-cs",
                 f"usr/share/games/fillets-ng/sound/**/cs/*-{role}-*.ogg", "cs", "GPL-2",
                 "dialogue", split)


def _letters(language, split):
    return Voice(f"klettres-{language}", "klettres-data", f"{_KLETTRES}/{language}/*/*.ogg",
                 language, "GPL-2+", "letters", split)


def _words(folder):
    return Voice(f"qabcs-{folder}", "qabcs-data",
                 f"usr/share/qabcs/abcs/{folder}/sounds/*/*.ogg", folder[:2], "GPL-3+", "words",
                 "train", 7)


def _tiles(talker, folder, language):
    """Names of Mahjong tiles."""
    return Voice(f"kajongg-{folder}{talker}".replace("/", "-"), "kajongg",
                 f"usr/share/kajongg/voices/{folder}{talker}/*.ogg", language, "GPL-2+", "acted",
                 "train", 7)


def _ancient(name, language, sex):
    return Voice(f"0ad-{name}-{sex}", "0ad-data",
                 f"audio/voice/{name}/civ/civ_{sex}_*.ogg", language, "CC-BY-SA-3.0", "acted",
                 "train", 7)


def _blupi(folder, language):
    return Voice(f"blupi-{folder}", "planetblupi-common",
                 f"usr/share/planetblupi/sound/{folder}/*", language, "GPL-3+", "acted", "train",
                 7)


VOICES = (
    _studio("asterisk-core-sounds-en-g722", "en_US_f_Allison", "allison-en", "en", "train"),
    _studio("asterisk-core-sounds-es-g722", "es_MX_f_Allison", "allison-es", "es", "train"),
    _studio("asterisk-core-sounds-fr-g722", "fr_CA_f_June", "june-fr", "fr", "train"),
    _studio("asterisk-core-sounds-it-g722", "it_IT_m_Carlo", "carlo-it", "it", "test",
            "CC-BY-3.0"),
    _studio("asterisk-core-sounds-ru-g722", "ru_RU_f_IvrvoiceRU", "ivrvoice-ru", "ru", "test",
            "CC-BY-3.0"),
    Voice("menardi-it", "asterisk-prompt-it-menardi-wav",
          f"{_SOUNDS}/it_IT_f_Menardi/**/*.wav", "it", "CC-BY-SA-3.0", "8 kHz", "test"),
    Voice("es-co", "asterisk-prompt-es-co", f"{_SOUNDS}/es/**/*.gsm", "es", "GPL-2", "8 kHz",
          "train"),
    Voice("armelle-fr", "asterisk-prompt-fr-armelle", f"{_SOUNDS}/fr/**/*.gsm", "fr",
          "BSD or GPL-2+", "8 kHz", "train"),
    _fish("v", "train"), _fish("hs", "train"), _fish("m", "test"),
    *(_stamps(language, "train")
      for language in ("bg", "ca", "es", "be", "lt", "fr", "nl", "GB")),
    *(_stamps(language, "val") for language in ("el", "da")),
    *(_stamps(language, "test") for language in ("ru", "ro")),
    *(_acted(folder, "en", "train")
      for folder in ("Pirate", "Surfer", "Default", "Mobster", "Singer", "HillBilly")),
    _acted("Default_es", "es", "train"),
    _acted("British", "en", "val"),
    _acted("Russian", "en", "test"),
    *(_acted(f"Default_{language}", language, split)
      for language, split in (("uk", "train"), ("pl", "train"), ("ru", "test"))),
    *(_tubers(language, "train") for language in ("fr", "lt", "uk", "ca", "sl", "en", "de")),
    *(_tubers(language, "val") for language in ("da", "el")),
    _tubers("ru", "test"),
    *(_letters(language, "train")
      for language in ("cs", "de", "en", "es", "fr", "hu", "ml", "nds", "pt_BR", "uk")),
    _letters("da", "val"),
    *(_letters(language, "test") for language in ("it", "ru")),
    *(_words(folder) for folder in ("be", "de", "en", "en_gb", "fr", "pl", "uk")),
    *(_tiles(talker, folder, language) for folder, language in (("", "en"), ("de/", "de"))
      for talker in ("male1", "male2", "female1", "female2")),
    *(_ancient(name, language, sex)
      for name, language in (("greek", "grc"), ("latin", "la"), ("napatan", "unknown"),
                             ("persian", "fa"))
      for sex in ("male", "female")),
    *(_blupi(folder, language)
      for folder, language in (("en_US", "en"), ("fr", "fr"), ("de", "de"), ("he", "he"))),
    Voice("fish-nl-v", "fillets-ng-data-nl",
          "usr/share/games/fillets-ng/sound/**/nl/*-v-*.ogg", "nl", "GPL-2", "dialogue", "train",
          7),
    Voice("smash-en", "csmash-data", "usr/share/games/csmash/wav/*.wav", "en", "GPL-2+", "acted",
          "train", 7),
    Voice("alsa-en", "alsa-utils", "usr/share/sounds/alsa/*.wav", "en", "GPL-2", "studio",
          "train", 7),
)

ARCHIVES = {"0ad-data": ("usr/share/games/0ad/mods/public/public.zip", "audio/voice/")}
"""Packages that keep their sounds in a zip file: its path, and the folder in it that is wanted.
Nothing else of such a package is unpacked."""

# Sound effects and music, split by file so that test noises are unheard in training.
NOISE_PACKAGES = {
    "tuxpaint-stamps-default": (f"{_STAMPS}/**/*.ogg", "effects", "GPL-2"),
    "hedgewars-data": (f"{_HEDGEWARS}/*.ogg", "effects", "GPL-2"),
    "asterisk-moh-opsound-g722": ("usr/share/asterisk/moh/*.g722", "music", "CC-BY-SA-3.0"),
}


def fetch_packages(packages, cache):
    """Download and unpack Debian packages below ``cache``; what is there already is kept."""
    cache = Path(cache)
    unpacked = {}
    for package in packages:
        target = cache / "speech" / package
        unpacked[package] = target
        if target.is_dir():
            continue
        for tool in ("apt-get", "dpkg"):
            if shutil.which(tool) is None:
                raise SourceError(f"{tool} is needed to fetch speech packages; on a system "
                                  f"without it, train on a folder of your own (--data FOLDER)")
        debs = cache / "debs"
        debs.mkdir(parents=True, exist_ok=True)
        if not list(debs.glob(f"{package}_*.deb")):
            run = subprocess.run(["apt-get", "download", package], cwd=debs,
                                 capture_output=True, text=True)
            if run.returncode:
                raise SourceError(f"apt-get download {package} failed: {run.stderr.strip()}")
        deb = sorted(debs.glob(f"{package}_*.deb"))[-1]
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if package in ARCHIVES:
            _unpack_archive(deb, *ARCHIVES[package], partial)
        else:
            subprocess.run(["dpkg", "-x", str(deb), str(partial)], check=True)
        partial.rename(target)
    return unpacked


def _unpack_archive(deb, archive, wanted, target):
    """Unpack into ``target`` one folder of a zip file in a package; remove the package.

    Such packages hold some GB of which a few MB are speech.
    """
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as tar:
        subprocess.run(["tar", "-x", "-C", str(target), f"./{archive}"], stdin=tar.stdout,
                       check=True)
    with zipfile.ZipFile(target / archive) as members:
        members.extractall(target, [name for name in members.namelist()
                                    if name.startswith(wanted)])
    shutil.rmtree(target / Path(archive).parts[0])
    deb.unlink()


def resample_steep(samples, count):
    """The samples at another rate, ``count`` of them, with nothing lost below the band's edge.

    soxr begins to fade 9 % below the edge. Clean speech that always fades there teaches a network
    that energy next to 8 kHz is damage.
    """
    from scipy.signal import resample

    return resample(samples, count)


def read_any(path, steep=False):
    """Mono float32 samples at 16 kHz of any file that FFmpeg's libraries decode.

    ``steep`` keeps all below 8 kHz (:func:`resample_steep`), as training wants it.
    """
    import av
    import soxr

    chunks, rate = [], None
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono")
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                chunks.append(part.to_ndarray()[0])
                rate = part.sample_rate
    if not chunks:
        return np.zeros(0, np.float32)
    samples = np.concatenate(chunks)
    if rate != RATE and steep:
        samples = resample_steep(samples, round(samples.size * RATE / rate))
    elif rate != RATE:
        samples = soxr.resample(samples, rate, RATE)
    return samples.astype(np.float32)


def _levels(samples):
    """Mean power in dB of each 20 ms."""
    blocks = samples[:samples.size // 320 * 320].reshape(-1, 320).astype(np.float64)
    return 10 * np.log10((blocks**2).mean(axis=1) + 1e-12)


def trim(samples):
    """The utterance without leading and trailing blocks 40 dB below its loudest parts."""
    levels = _levels(samples)
    if levels.size < 10:
        return samples[:0]
    loud = np.flatnonzero(levels > np.percentile(levels, 95) - 40)
    return samples[loud[0] * 320:(loud[-1] + 1) * 320]


def usable(samples):
    """Whether an utterance can serve as a clean reference."""
    levels = _levels(samples)
    if levels.size < 15:
        return False
    top, floor = np.percentile(levels, (95, 5))
    return top > -45 and top - floor > 20


def _split_of(name, shares=(0.8, 0.1)):
    """A split that depends on the name alone."""
    point = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
    return "train" if point < shares[0] else "val" if point < sum(shares) else "test"


def _folder_voices(folder):
    """Each subfolder of the user's folder is a voice; loose files are a voice each."""
    folder = Path(folder)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".wav", ".flac", ".ogg"))
    if not files:
        raise SourceError(f"{folder} holds no wav, flac or ogg files")
    groups = {}
    for path in files:
        parts = path.relative_to(folder).parts
        groups.setdefault(parts[0] if len(parts) > 1 else path.stem, []).append(path)
    voices = {Voice(name, folder.name, "", "unknown", "your own", "folder", _split_of(name)): paths
              for name, paths in groups.items()}
    splits = {voice.split for voice in voices}
    if splits != set(SPLITS):  # few voices: deal them out in turn, training first
        if len(voices) < 3:
            raise SourceError(f"{folder} must hold at least 3 voices (subfolders), one each for "
                              f"training, validation and test, not {len(voices)}")
        names = sorted(voices, key=lambda v: v.name)
        turns = {voice: SPLITS[0 if i >= 2 else 2 - i] for i, voice in enumerate(names)}
        voices = {Voice(**{**asdict(v), "split": turns[v]}): paths for v, paths in voices.items()}
    return voices


def _material(recipe):
    """The recipe whose recordings, prepared as it prepares them, a recipe uses."""
    return min(recipe, 7)


def package_voices(recipe=RECIPE):
    """The voices of a recipe, from packages."""
    return [voice for voice in VOICES if voice.since <= recipe]


def _package_voices(cache, recipe):
    wanted = package_voices(recipe)
    roots = fetch_packages(dict.fromkeys([v.package for v in wanted] + list(NOISE_PACKAGES)),
                           cache)
    voices = {v: sorted(roots[v.package].glob(v.pattern)) for v in wanted}
    noises = []
    for package, (pattern, kind, licence) in NOISE_PACKAGES.items():
        for path in sorted(roots[package].glob(pattern)):
            # Stamps: only files without a language suffix are sound effects.
            if package.startswith("tuxpaint") and "_" in path.stem:
                continue
            noises.append((path, kind, licence, package))
    return voices, noises


def _write_group(folder, name, utterances, meta):
    """One int16 array of all utterances, with their bounds; the .json marks it complete."""
    bounds = np.cumsum([0] + [u.size for _, u in utterances]).tolist()
    samples = np.concatenate([u for _, u in utterances])
    np.save(folder / f"{name}.npy", np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16))
    temporary = folder / f"{name}.json.partial"
    temporary.write_text(json.dumps({**meta, "files": [f for f, _ in utterances],
                                     "bounds": bounds}))
    os.replace(temporary, folder / f"{name}.json")


def source_tag(speech_folder=None, recipe=RECIPE):
    """Name of the prepared material: of the packages and what is taken from them, or of a folder.
    """
    recipe = _material(recipe)
    later = "" if recipe == 6 else f"-{recipe}"
    if speech_folder is None:
        voices = [asdict(voice) for voice in package_voices(recipe)]
        for voice in voices:
            del voice["since"]
        chosen = json.dumps([voices, NOISE_PACKAGES])
        return f"packages-{hashlib.sha256(chosen.encode()).hexdigest()[:8]}{later}"
    place = hashlib.sha256(str(Path(speech_folder).resolve()).encode()).hexdigest()[:12]
    return f"folder-{place}{later}"


def prepare(cache, speech_folder=None, progress=None, recipe=RECIPE):
    """Fetch, decode and filter all material; return the folder that :func:`load_prepared` reads.

    ``progress``, if given, is called with (done, total, text).
    """
    cache = Path(cache)
    folder = cache / "prepared" / source_tag(speech_folder, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "DONE"
    if done.exists():
        return folder
    if speech_folder is None:
        voices, noises = _package_voices(cache, recipe)
    else:
        voices, noises = _folder_voices(speech_folder), []
    steps = len(voices) + 1
    for i, (voice, paths) in enumerate(voices.items()):
        if progress:
            progress(i, steps, voice.name)
        if (folder / f"voice-{voice.name}.json").exists():
            continue
        utterances = []
        for path in paths:
            if "silence" in path.parts:
                continue
            try:
                samples = trim(read_any(path, steep=recipe > 6 and voice.split == "train"))
            except Exception as error:
                # A damaged file in a package is not our user's problem, nor are its tags
                if not (type(error).__module__.split(".")[0] == "av"
                        or isinstance(error, UnicodeDecodeError)):
                    raise
                continue
            if usable(samples):
                utterances.append((path.name, samples))
        seconds = sum(u.size for _, u in utterances) / RATE
        if seconds >= 8:
            _write_group(folder, f"voice-{voice.name}", utterances,
                         {**asdict(voice), "seconds": round(seconds, 1)})
    for kind in ("effects", "music"):
        for split in SPLITS:
            chosen = [n for n in noises if n[1] == kind]
            if kind == "music":  # five pieces: three, one, one
                chosen = [n for i, n in enumerate(chosen)
                          if ("train", "train", "train", "val", "test")[i % 5] == split]
            else:
                chosen = [n for n in chosen if _split_of(n[0].name, (0.7, 0.1)) == split]
            pieces = [(path.name, read_any(path)) for path, *_ in chosen]
            pieces = [(name, piece) for name, piece in pieces
                      if piece.size > RATE // 2 and _levels(piece).max() > -50]
            if pieces:
                _write_group(folder, f"noise-{kind}-{split}", pieces,
                             {"kind": kind, "split": split})
    if progress:
        progress(steps, steps, "speech ready")
    done.write_text("")
    return folder


@functools.cache
def load_prepared(folder):
    """``(voices, noises)`` of a prepared folder; sample arrays stay on disk until used."""
    folder = Path(folder)
    voices, noises = {}, {}
    for path in sorted(folder.glob("*.json")):
        meta = json.loads(path.read_text())
        meta["samples"] = np.load(path.with_suffix(".npy"), mmap_mode="r")
        if path.name.startswith("voice-"):
            voices[meta["name"]] = meta
        else:
            noises[meta["kind"], meta["split"]] = meta
    return voices, noises
