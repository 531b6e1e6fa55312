"""Packages that extend bamac are loaded before a command runs."""

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from bamac import plugins
from bamac.cli.main import main


def installed(monkeypatch, *entries):
    monkeypatch.setattr(plugins, "entry_points", lambda group: [
        EntryPoint(name, module, group) for name, module in entries])


def test_a_plugin_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_lanes", types.ModuleType("my_lanes"))
    installed(monkeypatch, ("lanes", "my_lanes"))
    assert plugins.load_plugins() == ["lanes"]


def test_a_command_loads_plugins_and_help_does_not(monkeypatch, capsys):
    loaded = []
    monkeypatch.setattr("bamac.cli.main.load_plugins", lambda: loaded.append(True))
    with pytest.raises(SystemExit):
        main(["--help"])
    assert not loaded
    with pytest.raises(SystemExit):
        main(["inspect", "no-such-file"])
    assert loaded
    assert "no-such-file" in capsys.readouterr().err


def test_a_plugin_that_fails_is_named_in_one_sentence(monkeypatch, capsys):
    installed(monkeypatch, ("lanes", "no_such_module_at_all"))
    with pytest.raises(SystemExit) as left:
        main(["inspect", "no-such-file"])
    assert left.value.code == 2
    printed = capsys.readouterr().err
    assert printed == (
        "error: Plugin lanes of package no_such_module_at_all cannot be loaded "
        "(ModuleNotFoundError: No module named 'no_such_module_at_all'); repair it or uninstall "
        "no_such_module_at_all\n")
