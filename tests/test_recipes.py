"""Data recipes: what each record says, and how a recipe is asked for."""

import dataclasses

import click
import pytest
from click.testing import CliRunner

from bamac.cli.options import data_options
from bamac.data import build, recipes
from bamac.data.voices import GAME_NOISES

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
