"""The talkers and noises that Debian packages carry, with their languages, licences and splits.

Whole voices, and Italian, Russian, Romanian, Greek and Danish as languages, never occur in
training. All test and validation voices are in the collection :data:`CORE`; the others are for
training alone, so that every recipe is tested alike.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CORE", "FURTHER", "GAMES", "GAME_NOISES", "NARROW", "NOISE_PACKAGES", "VOICES", "Voice"]

CORE, FURTHER, GAMES = "core", "further", "games"
"""Collections of voices. Those of games are no clean references: they serve DNSMOS P.808 alone."""
NARROW = "8 kHz"
"""The family of voices recorded at 8 kHz. They are never clean references."""


@dataclass(frozen=True)
class Voice:
    """One talker of one package.

    Parameters
    ----------
    name : of the voice, unique
    package : Debian package that carries it
    pattern : of its files in the package
    language : ISO 639 code
    licence : of the recordings
    family : kind of recording, by which results are grouped
    split : where all its clips belong
    collection : which recipes have the voice, see :class:`bamac.data.recipes.Recordings`
    """

    name: str
    package: str
    pattern: str
    language: str
    licence: str
    family: str
    split: str
    collection: str = CORE


_SOUNDS = "usr/share/asterisk/sounds"
_STAMPS = "usr/share/tuxpaint/stamps"
_HEDGEWARS = "usr/share/games/hedgewars/Data/Sounds"
_KLETTRES = "usr/share/klettres"
_FREEDROID = "usr/share/freedroidrpg/data/sound"
_WARMUX = "usr/share/games/warmux"


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
                 "train", FURTHER)


def _tiles(talker, folder, language):
    """Names of Mahjong tiles."""
    return Voice(f"kajongg-{folder}{talker}".replace("/", "-"), "kajongg",
                 f"usr/share/kajongg/voices/{folder}{talker}/*.ogg", language, "GPL-2+", "acted",
                 "train", FURTHER)


def _ancient(name, language, sex):
    return Voice(f"0ad-{name}-{sex}", "0ad-data",
                 f"audio/voice/{name}/civ/civ_{sex}_*.ogg", language, "CC-BY-SA-3.0", "acted",
                 "train", FURTHER)


def _blupi(folder, language):
    return Voice(f"blupi-{folder}", "planetblupi-common",
                 f"usr/share/planetblupi/sound/{folder}/*", language, "GPL-3+", "acted", "train",
                 FURTHER)


def _game(name, package, pattern, licence, family="acted", language="en"):
    """Voices for DNSMOS P.808 alone, which needs no clean references."""
    return Voice(name, package, pattern, language, licence, family, "train", GAMES)


def _queen(name, pattern):
    return _game(f"queen-{name}", "flight-of-the-amazon-queen", f"lines/{pattern}.mp3",
                 "Flight-of-the-Amazon-Queen-License", "dialogue")


def _sky(number):
    """A hundred lines: one conversation or two."""
    return _game(f"sky-{number}", "beneath-a-steel-sky", f"lines/{number}??.wav",
                 "Beneath-a-Steel-Sky-License", "dialogue")


def _warzone(name, pattern):
    return _game(f"warzone-{name}", "warzone2100-data", f"audio/{pattern}.ogg", "GPL-2+", "radio")


def _nexuiz(name, pattern):
    return _game(f"nexuiz-{name}", "nexuiz-data", f"sound/{pattern}", "GPL-2+")


def _glest(faction, unit):
    folder = f"usr/share/games/megaglest/techs/megapack/factions/{faction}/units/{unit}"
    return _game(f"glest-{faction}-{unit}", "megaglest-data", f"{folder}/sounds/*",
                 "CC-BY-SA-3.0", language="en" if faction == "magic" else "unknown")


VOICES = (
    _studio("asterisk-core-sounds-en-g722", "en_US_f_Allison", "allison-en", "en", "train"),
    _studio("asterisk-core-sounds-es-g722", "es_MX_f_Allison", "allison-es", "es", "train"),
    _studio("asterisk-core-sounds-fr-g722", "fr_CA_f_June", "june-fr", "fr", "train"),
    _studio("asterisk-core-sounds-it-g722", "it_IT_m_Carlo", "carlo-it", "it", "test",
            "CC-BY-3.0"),
    _studio("asterisk-core-sounds-ru-g722", "ru_RU_f_IvrvoiceRU", "ivrvoice-ru", "ru", "test",
            "CC-BY-3.0"),
    Voice("menardi-it", "asterisk-prompt-it-menardi-wav",
          f"{_SOUNDS}/it_IT_f_Menardi/**/*.wav", "it", "CC-BY-SA-3.0", NARROW, "test"),
    Voice("es-co", "asterisk-prompt-es-co", f"{_SOUNDS}/es/**/*.gsm", "es", "GPL-2", NARROW,
          "train"),
    Voice("armelle-fr", "asterisk-prompt-fr-armelle", f"{_SOUNDS}/fr/**/*.gsm", "fr",
          "BSD or GPL-2+", NARROW, "train"),
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
          FURTHER),
    Voice("smash-en", "csmash-data", "usr/share/games/csmash/wav/*.wav", "en", "GPL-2+", "acted",
          "train", FURTHER),
    Voice("alsa-en", "alsa-utils", "usr/share/sounds/alsa/*.wav", "en", "GPL-2", "studio",
          "train", FURTHER),
    _queen("joe", "[0-9]*J?"), _queen("joe-alone", "JOE*"),
    *(_queen(f"{number:02d}", f"{number:02d}????P?") for number in range(2, 85)),
    *(_queen(f"scene-{number}", f"C{number}*") for number in range(1, 10)),
    _queen("scenes", "C[A-Z]*"),
    *(_sky(number) for number in range(500, 551)),
    *(_warzone(name, pattern) for name, pattern in (
        ("tutorial", "tutorial/*"), ("extra", "extra/*"), ("messages", "memressp/**/*"),
        ("countdown", "countdown/*"), ("nexus", "nexus/*"), ("collective", "coltive/*"),
        ("proximity", "proxmessages/*"), ("taunt1", "taunts/taunt1/*"),
        ("taunt3", "taunts/taunt3/*"))),
    *(_nexuiz(name, pattern) for name, pattern in (
        ("tutorial", "tutorial/*"), ("announcer", "announcer/male/*"),
        ("announcer-robotic", "announcer/robotic/*"), ("torus", "player/torus/*"))),
    *(_nexuiz(name, f"player/{name}/coms/*")
      for name in ("carni-lycan", "fricka", "insurrectionist", "marine", "pyria-skadi",
                   "reptilian", "soldier", "specop")),
    *(_glest(faction, unit) for faction, units in (
        ("egypt", ("anubis_warrior", "spearman")),
        ("indian", ("shaman", "stickfighter")),
        ("magic", ("battlemage", "behemoth", "ghost_armor", "initiate", "summoner")),
        ("norsemen", ("battleaxe", "battleaxe_berserk", "cudgel_lady", "spearman",
                      "spearman_berserk", "swordman", "swordman_berserk")),
        ("persian", ("princess", "stickfighter", "swordman"))) for unit in units),
    _game("freedroid-bots", "freedroidrpg-data",
          f"{_FREEDROID}/effects/bot_sounds/voice_samples/*.ogg", "GPL-2+"),
    _game("freedroid-tux", "freedroidrpg-data",
          f"{_FREEDROID}/effects/tux_ingame_comments/*.ogg", "GPL-2+"),
    _game("codec2-en", "codec2-examples", "usr/share/codec2/wav/*.wav", "LGPL-2.1", NARROW),
    _game("tennis-en", "freetennis-common", "usr/share/sounds/freetennis-common/sfx/*.wav",
          "GPL-2+"),
)

NOISE_PACKAGES = {
    "tuxpaint-stamps-default": (f"{_STAMPS}/**/*.ogg", "effects", "GPL-2"),
    "hedgewars-data": (f"{_HEDGEWARS}/*.ogg", "effects", "GPL-2"),
    "asterisk-moh-opsound-g722": ("usr/share/asterisk/moh/*.g722", "music", "CC-BY-SA-3.0"),
}
"""Sound effects and music of all recipes, ``{package: (pattern, kind, licence)}``; they are split
by file, so that test noises are unheard in training."""

GAME_NOISES = (
    ("warzone2100-data", "audio/sfx/**/*.ogg", "effects", "GPL-2+"),
    ("nexuiz-data", "sound/ambient/*", "effects", "GPL-2+"),
    ("nexuiz-data", "sound/desertfactory/*", "effects", "GPL-2+"),
    ("nexuiz-data", "sound/weapons/*", "effects", "GPL-2+"),
    ("ufoai-sound", "sound/ambience/*", "effects", "GPL-2+, CC-BY-SA-3.0"),
    ("ufoai-sound", "sound/weapons/*", "effects", "GPL-2+, CC-BY-SA-3.0"),
    ("wesnoth-1.16-data", "usr/share/games/wesnoth/1.16/data/core/sounds/**/*.ogg", "effects",
     "GPL-2+"),
    ("colobot-common-sounds", "usr/share/games/colobot/sounds/*", "effects", "GPL-3+"),
    ("warmux-data", f"{_WARMUX}/sound/default/weapons/*", "effects", "GPL-2+"),
    ("freedroidrpg-data", f"{_FREEDROID}/effects/*", "effects", "GPL-2+"),
    ("colobot-common-sounds", "usr/share/games/colobot/music/*", "music", "GPL-3+"),
    ("warmux-data", f"{_WARMUX}/music/**/*.ogg", "music", "GPL-2+"),
    ("freedroidrpg-data", f"{_FREEDROID}/music/*", "music", "GPL-2+"),
)
"""Noises for training beside the voices of games: ``(package, pattern, kind, licence)``."""
