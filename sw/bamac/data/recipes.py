"""Recipes of training clips: which recordings they are made of, how, and with which labels.

Validation and test clips are the same by every recipe, so results compare. A recipe's clips never
change: a data set and a model card name their recipe by its number, and the number seeds the
random draws. What differs between recipes is in the fields of their records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .voices import CORE, FURTHER, GAME_NOISES, GAMES

__all__ = ["DEFAULT", "HELD_OUT", "RECIPES", "DataRecipe", "Recordings", "get", "number_of"]


@dataclass(frozen=True)
class Recordings:
    """The recordings that training clips are made of, and how they are prepared.

    Parameters
    ----------
    suffix : end of the name of the folder that holds them prepared
    collections : of the voices (:class:`bamac.data.voices.Voice`) that belong to them
    noises : ``(package, pattern, kind, licence)`` of noises in addition to those of every recipe,
        for training clips alone
    steep : whether resampling keeps all of the band up to 8 kHz; otherwise it fades from 7.3 kHz
    """

    suffix: str
    collections: tuple[str, ...]
    noises: tuple[tuple[str, str, str, str], ...] = ()
    steep: bool = True


@dataclass(frozen=True)
class DataRecipe:
    """How the training clips of a data set are made.

    Parameters
    ----------
    name : by which users ask for it
    number : names its data sets and seeds its random draws
    description : one line for help and reports
    recordings : what the clips are made of
    labels : keys of the labels that its clips have (:mod:`bamac.data.labels`). With PESQ, clips
        come in pairs of one clean reference, searched for an even spread of PESQ. Without it, each
        clip has a recording of its own, which need not be clean
    undamaged : share of clips that are not degraded, of recipes without PESQ
    games : share of clips spoken by voices of games, of recipes without PESQ whose recordings have
        them. These voices are many, and most of them come from two games
    severity_factor : of the degradations' severities, of recipes without PESQ. With 1, labels are
        lower than those of the test clips
    """

    name: str
    number: int
    description: str
    recordings: Recordings
    labels: tuple[str, ...] = ("pesq", "p808")
    undamaged: float = 0.0
    games: float = 0.0
    severity_factor: float = 1.0

    @property
    def has_pesq(self) -> bool:
        """Whether its clips are labelled with PESQ."""
        return "pesq" in self.labels


_37_TALKERS = Recordings("", (CORE,), steep=False)
_66_TALKERS = Recordings("-7", (CORE, FURTHER))
_WITH_GAMES = Recordings("-9", (CORE, FURTHER, GAMES), GAME_NOISES)

RECIPES = (
    DataRecipe("talkers-37", 6,
               "37 training talkers; the top of their band fades from 7.3 kHz on", _37_TALKERS),
    DataRecipe("talkers-66", 7, "66 training talkers; all of the band up to 8 kHz",
               _66_TALKERS),
    DataRecipe("talkers-66-opinion", 8,
               "the recordings of talkers-66 for DNSMOS P.808 alone: no PESQ, no clean references",
               _66_TALKERS, labels=("p808",), undamaged=0.03),
    DataRecipe("games-opinion", 9,
               "talkers-66-opinion and 178 voices of games, which also lend their noises",
               _WITH_GAMES, labels=("p808",), undamaged=0.03, games=0.5, severity_factor=0.8),
)
DEFAULT = RECIPES[0]
"""The recipe of the default network, used where none is asked for."""
HELD_OUT = RECIPES[0]
"""The recipe of validation and test clips in every data set."""


def get(recipe: DataRecipe | str | int) -> DataRecipe:
    """The recipe of a name or number; a recipe itself is returned as it is.

    Raises ValueError if there is none of that name or number.
    """
    if isinstance(recipe, DataRecipe):
        return recipe
    for known in RECIPES:
        if recipe in (known.name, known.number, str(known.number)):
            return known
    raise ValueError(f"Data recipe must be one of {', '.join(str(r.number) for r in RECIPES)}, "
                     f"not {recipe!r}; their names are {', '.join(r.name for r in RECIPES)}")


def number_of(training: Mapping[str, Any]) -> int:
    """Number of the recipe of a run's training clips; where a run names none, it is 6."""
    return get(training.get("data_recipe", DEFAULT)).number
