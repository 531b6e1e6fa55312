"""Data recipes and the recordings that each has."""

import dataclasses
import json

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from bamac.cli.options import data_options
from bamac.data import build, recipes, sources, voices
from bamac.data.voices import GAME_NOISES

# --- Recipes

# name: number, suffix of the recordings, collections, noises, steep, labels, undamaged, games,
# severity factor
TABLE = {
    "talkers-37": (6, "", ("core",), (), False, ("pesq", "p808"), 0.0, 0.0, 1.0),
    "talkers-66": (7, "-7", ("core", "further"), (), True, ("pesq", "p808"), 0.0, 0.0, 1.0),
    "talkers-66-opinion": (8, "-7", ("core", "further"), (), True, ("p808",), 0.03, 0.0, 1.0),
    "games-opinion": (9, "-9", ("core", "further", "games"), GAME_NOISES, True, ("p808",), 0.03,
                      0.5, 0.8),
}


def test_recipes_say_what_they_are():
    assert {r.name: (r.number, r.recordings.suffix, r.recordings.collections, r.recordings.noises,
                     r.recordings.steep, r.labels, r.undamaged, r.games, r.severity_factor)
            for r in recipes.RECIPES} == TABLE
    assert [r.name for r in recipes.RECIPES if not r.has_pesq] == ["talkers-66-opinion",
                                                                   "games-opinion"]
    assert recipes.DEFAULT.name == recipes.HELD_OUT.name == "talkers-37"


@pytest.mark.parametrize("name", TABLE)
def test_a_recipe_is_found_by_name_number_and_record(name):
    recipe = recipes.get(name)
    number = TABLE[name][0]
    assert recipe.name == name
    assert recipes.get(number) is recipes.get(str(number)) is recipes.get(recipe) is recipe


def test_a_recipe_of_ones_own_need_not_be_listed():
    own = dataclasses.replace(recipes.DEFAULT, name="own", number=100, severity_factor=0.5)
    assert recipes.get(own) is own


@pytest.mark.parametrize("wrong", [5, 10, "6.0", "talkers", None])
def test_an_unknown_recipe_is_refused(wrong):
    with pytest.raises(ValueError) as caught:
        recipes.get(wrong)
    assert str(caught.value) == (
        f"Data recipe must be one of 6, 7, 8, 9, not {wrong!r}; their names are talkers-37, "
        f"talkers-66, talkers-66-opinion, games-opinion")


def test_a_run_names_its_recipe_by_number_or_has_the_default():
    assert recipes.number_of({"data_recipe": 8}) == 8
    assert recipes.number_of({"data_recipe": "games-opinion"}) == 9
    assert recipes.number_of({"seed": 1}) == 6


@pytest.mark.parametrize("arguments, number", [
    ([], 6), (["--data-recipe", "talkers-66"], 7), (["--data-recipe", "9"], 9)])
def test_the_command_line_takes_names_and_numbers(arguments, number):
    given = []
    command = click.command()(data_options(10)(lambda **values: given.append(values)))
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert given[0]["data_recipe"] == number


def test_every_recipe_can_be_asked_for(monkeypatch):
    from bamac.cli.commands.data import command

    monkeypatch.setattr(build, "build", lambda *_, **__: pytest.fail("No data set may be made"))
    result = CliRunner().invoke(command, ["--data-recipe", "talkers-99"])
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert ("must be one of talkers-37 (6), talkers-66 (7), talkers-66-opinion (8), "
            "games-opinion (9), not 'talkers-99'") in said
    option, = (p for p in command.params if p.name == "data_recipe")
    assert all(recipe.name in option.help for recipe in recipes.RECIPES)


# --- Recordings

RATE = 16_000


def _recordings(number):
    return recipes.get(number).recordings


def test_a_recipe_keeps_its_voices():
    older, newer = (sources.package_voices(_recordings(recipe)) for recipe in (6, 7))
    assert set(older) < set(newer)
    assert {voice.split for voice in set(newer) - set(older)} == {"train"}
    assert len({voice.name for voice in newer}) == len(newer)
    assert sources.package_voices(_recordings(8)) == newer
    assert sources.source_tag(None, _recordings(8)) == sources.source_tag(None, _recordings(7))
    # Prepared recordings have these names on disk
    assert sources.source_tag() == "packages-ef74fdb5"
    assert sources.source_tag(None, _recordings(7)) == "packages-84a59186-7"
    assert sources.source_tag(None, _recordings(9)) == "packages-821c160d-9"


def test_games_add_voices_and_noises_to_training_alone(tmp_path, monkeypatch):
    older, newer = (sources.package_voices(_recordings(recipe)) for recipe in (8, 9))
    added = set(newer) - set(older)
    assert set(older) < set(newer) and len({voice.name for voice in newer}) == len(newer)
    assert {voice.split for voice in added} == {"train"}
    held_out = {voice.language for voice in newer if voice.split == "test"} - {"en", "cs"}
    assert held_out == {"it", "ru", "ro"} and not held_out & {v.language for v in added}
    roots = {}
    for package, pattern in [*((p, n[0]) for p, n in voices.NOISE_PACKAGES.items()),
                             *(n[:2] for n in voices.GAME_NOISES)]:
        roots.setdefault(package, tmp_path / package)
        for i in range(5):
            path = roots[package] / pattern.replace("**/", "").replace("*", f"{i}.", 1).replace(
                "*", "ogg").replace("..", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    monkeypatch.setattr(sources, "fetch_packages",
                        lambda packages, _: {p: roots.get(p, tmp_path) for p in packages})

    def noises(recipe, split):
        material = sources._package_material(tmp_path, _recordings(recipe))[1]
        return {noise.path for kind in ("effects", "music")
                for noise in sources._noises_of(material, kind, split)}

    for split in ("val", "test"):
        assert noises(9, split) == noises(7, split) != set()
    assert noises(9, "train") > noises(7, "train")
    assert {path.relative_to(tmp_path).parts[0] for path in noises(9, "train") - noises(7, "train")
            } == {noise[0] for noise in voices.GAME_NOISES}


def _share_above(samples, hertz):
    power = np.abs(np.fft.rfft(samples)) ** 2
    at = np.fft.rfftfreq(samples.size, 1 / RATE)
    return power[at > hertz].sum() / power.sum()


def test_training_speech_keeps_all_of_its_band(tmp_path):
    """White noise has 5 % of its power in 7.6..8 kHz, at whatever rate it was recorded."""
    path = tmp_path / "noise.wav"
    noise = 0.1 * np.random.default_rng(2).standard_normal(3 * 44_100)
    soundfile.write(path, noise, 44_100, subtype="FLOAT")
    full, faded = sources.read_any(path, steep=True), sources.read_any(path)
    assert full.size == faded.size == 3 * RATE
    assert _share_above(full, 7600) == pytest.approx(0.05, rel=0.1)
    assert _share_above(faded, 7600) < 0.02


@pytest.mark.parametrize("name, written, collection", [
    ("queen-joe", {}, "games"), ("qabcs-be", {}, "further"), ("june-fr", {}, "core"),
    ("my-talker", {}, "core"), ("my-talker", {"collection": "games"}, "games")])
def test_a_prepared_voice_belongs_to_a_collection(tmp_path, name, written, collection):
    (tmp_path / f"voice-{name}.json").write_text(json.dumps(
        {"name": name, "files": ["a", "b"], "bounds": [0, 2, 5], **written}))
    np.save(tmp_path / f"voice-{name}.npy", np.array([1, 2, 16384, -16384, 0], np.int16))
    voice = sources.load_prepared(tmp_path)[0][name]
    assert voice["collection"] == collection
    assert sources.recording(voice, 1).tolist() == [0.5, -0.5, 0.0]
