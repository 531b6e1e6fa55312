"""Packages that extend bamac: loaded before a command runs.

A package names a module under the entry point group ``bamac.plugins``; importing the module
registers its datapaths, layers, operators, front ends and tasks::

    [project.entry-points."bamac.plugins"]
    my-lanes = "my_package.lanes"
"""

from __future__ import annotations

from importlib.metadata import entry_points

__all__ = ["GROUP", "PluginError", "load_plugins"]

GROUP = "bamac.plugins"


class PluginError(ValueError):
    """A package that extends bamac cannot be loaded."""


def load_plugins() -> list[str]:
    """Import every plugin that is installed; returns their names.

    Raises
    ------
    PluginError
        If one fails; the message names it, and says how to go on without it.
    """
    names = []
    for plugin in entry_points(group=GROUP):
        try:
            plugin.load()
        except Exception as error:
            package = plugin.dist.name if plugin.dist else plugin.value
            raise PluginError(
                f"Plugin {plugin.name} of package {package} cannot be loaded "
                f"({type(error).__name__}: {error}); repair it or uninstall {package}") from error
        names.append(plugin.name)
    return names
