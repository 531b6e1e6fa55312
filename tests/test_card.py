"""Model cards: what a run's report says, in words, with a command that trains it again."""

import re
import shlex
from pathlib import Path

import click
import pytest

import bamac
from bamac.cli.commands.distil import command as distil_command
from bamac.cli.commands.train import command as train_command
from bamac.report.card import distilled_card, model_card
from bamac.training.config import DistilConfig, TrainConfig

SCORES = {"clips": 12, "pcc": 0.8764, "srcc": None, "rmse": 0.123, "label_std": 0.456}
PARTS = {"val": {"all": {**SCORES, "pcc": 0.5}},
         "test": {"all": SCORES, "novelty": {"seen damage": SCORES}, "language": {"it": SCORES},
                  "family": {}, "degradation": {"noise": SCORES}},
         "density": [0.125, 0.5], "epoch": 3, "training_seconds": 754.0,
         "voices": ["june-fr", "stamps-be"]}


def _distilled(speech_folder=None, **changes):
    return {**PARTS, "configuration": DistilConfig(**changes).decides(), "clips": 9600,
            "data": {"clips": 9600, "data_seed": 2, "speech_folder": speech_folder}}


def _values(card, command):
    """What the command in the card would be called with."""
    line = next(line for line in card.splitlines() if line.startswith("    bamac "))
    called = {}
    only = click.Command("card", params=command.params, callback=lambda **v: called.update(v))
    only.main(shlex.split(line)[2:], standalone_mode=False)
    return called


def test_the_command_of_a_distilled_card_gives_the_same_configuration():
    changes = {"crop": 300, "crop_epochs": 6, "int8_epochs": 1, "freeze_norm": True, "hint": 0.25,
               "batch": 16, "rate": 2e-3, "vtlp": 0.2, "seed": 4}
    values = _values(distilled_card("mine", _distilled(**changes)), distil_command)
    assert (values["clips"], values["data_seed"]) == (9600, 2)
    config = {k: v for k, v in values.items()
              if k in DistilConfig().decides() and v is not None}
    assert DistilConfig(**config) == DistilConfig(**changes)


def test_the_command_of_a_trained_card_gives_the_same_configuration():
    changes = {"epochs": 8, "input_bits": 5, "weight_bits": (8, 4, 4, 4), "prune": 0.5}
    report = {**PARTS, "configuration": TrainConfig(**changes).decides(), "epochs": 9}
    values = _values(model_card("mine", report), train_command)
    config = {k: v for k, v in values.items() if k in TrainConfig().decides() and v is not None}
    assert TrainConfig(**config).decides() == TrainConfig(**changes).decides()


@pytest.mark.parametrize("card", sorted((Path(bamac.__file__).parent / "assets" / "models")
                                        .glob("*.md")), ids=lambda path: path.stem)
def test_the_commands_of_a_shipped_card_have_options_that_exist(card):
    text = card.read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^    bamac (train|distil) (.*)$", text, re.M)
    assert commands
    for name, words in commands:
        command = {"train": train_command, "distil": distil_command}[name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z0-9-]+", words)) <= known


def test_a_distilled_card_says_what_was_measured():
    card = distilled_card("mine", _distilled())
    assert card.startswith("# Model card: mine\n")
    assert "| **test, all** | 12 | 0.876 | – | 0.123 | 0.456 |" in card
    assert "| validation | 12 | 0.500 | – | 0.123 | 0.456 |" in card
    assert "8 on crops of 5 s, then 2 on whole windows with int8 weights, on 9,600 clips" in card
    assert "Activation density of each map: 12.5 %, 50.0 %." in card
    assert "june-fr, stamps-be" in card and "data recipe 6, seed 2" in card


def test_a_card_says_what_its_task_says():
    card = distilled_card("mine", _distilled())
    assert ("5 convolutions (3x3) of 32-32-32-32-64 channels and a head of 64-64-64-1, with binary"
            in card)
    assert ("It predicts the score that the released DNSMOS P.808 gives a clip of 9 s. Input: 900 "
            "x 120 integers of 8 bits of the front end `dnsmos-p808-16k-321-160-120`." in card)
    assert "## Agreement with DNSMOS P.808\n" in card and "`speechmos` (MIT)" in card
    report = {**PARTS, "configuration": TrainConfig(input_bits=4).decides(), "epochs": 9}
    card = model_card("mine", report)
    assert ("4 convolutions (3x3) of 32-32-32-64 channels and a head of 64-64-64-1, with binary"
            in card)
    assert ("It predicts wide-band PESQ (ITU-T P.862.2) of a clip of 5 s" in card)
    assert "Input: 249 x 120 integers of 4 bits of the front end `" in card
    assert "## Agreement with wide-band PESQ\n" in card and "the package `pesq`" in card


@pytest.mark.parametrize("folder", [None, "speech/mine"])
def test_licences_are_those_of_the_speech(folder):
    card = distilled_card("mine", _distilled(folder))
    assert ("CC-BY-SA-3.0: asterisk-core-sounds-en-g722, " in card) == (folder is None)
    assert ("folder `speech/mine`, under its own licence" in card) == (folder is not None)


def test_a_run_that_goes_on_names_its_start():
    report = _distilled(None)
    assert "started from a layer-wise fit of the released weights" in distilled_card("a", report)
    report["configuration"]["start"] = "runs/first/model.pt"
    card = distilled_card("a", report)
    assert "started from the network of another run (`runs/first/model.pt`)" in card
    assert "--start runs/first/model.pt" in card
