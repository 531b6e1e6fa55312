"""The command ``bamac``: finds subcommands, and turns errors into one sentence and an exit code.

Exit codes: 0 done; 1 a check failed, such as not bit-exact; 2 unusable input or usage; 3 a fault
in bamac itself; 130 interrupted. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import ast
import json
import os
import pkgutil
import sys
from importlib import import_module
from pathlib import Path

import click

from bamac.plugins import load_plugins

__all__ = ["emit", "main", "root", "say", "warn"]

ORDER = ["run", "demo", "train", "distil", "evaluate", "export", "compile", "simulate", "verilog",
         "synth", "host", "simulate-board", "explore", "report", "inspect", "diff"]
OURS = ("bamac", "bamac_hw", "bamac_sim")
# The hardware broke one of its own rules, or hangs; place and route takes too long.
FAILED_CHECKS = ("SimulationError", "GivenUp")
EXIT_CHECK, EXIT_INPUT, EXIT_FAULT, EXIT_INTERRUPTED = 1, 2, 3, 130


class _Commands(click.Group):
    """Subcommands in :mod:`bamac.cli.commands`; a module is imported when its command runs."""

    def _modules(self):
        folder = Path(__file__).parent / "commands"
        return {entry.name.replace("_", "-"): folder / f"{entry.name}.py"
                for entry in pkgutil.iter_modules([str(folder)])}

    def list_commands(self, ctx):
        names = self._modules()
        return [n for n in ORDER if n in names] + sorted(n for n in names if n not in ORDER)

    def get_command(self, ctx, name):
        if name not in self._modules():
            return None
        module = import_module(f"bamac.cli.commands.{name.replace('-', '_')}")
        return getattr(module, "command", None) or getattr(module, name)

    def resolve_command(self, ctx, args):
        """The command that is to be run; packages that extend bamac are loaded before it."""
        found = super().resolve_command(ctx, args)
        load_plugins()
        return found

    def format_commands(self, ctx, formatter):
        modules = self._modules()
        rows = []
        for name in self.list_commands(ctx):
            # The docstring alone: help must not import what twelve commands need
            text = ast.get_docstring(ast.parse(modules[name].read_text(encoding="utf-8"))) or ""
            rows.append((name, text.split("\n")[0].rstrip(".")))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _version(ctx, _param, value):
    if not value or ctx.resilient_parsing:
        return
    from importlib import metadata

    click.echo(f"bamac {metadata.version('bamac')}")
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]},
             no_args_is_help=True)
@click.option("--version", is_flag=True, callback=_version, expose_value=False, is_eager=True,
              help="Print the version.")
def root():
    """Score speech on a simulated FPGA accelerator, bit for bit as the software reference does.

    \b
    Example: bamac run speech.wav --report report.html
    """


def emit(result):
    """Print the one JSON object of ``--json``."""
    click.echo(json.dumps(result, allow_nan=False, default=_plain))


def _plain(value):
    for convert in ("tolist", "item"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    raise TypeError(f"Result must be plain values, not {value!r}")


def say(text):
    """Progress, on stderr."""
    click.echo(text, err=True)


def warn(text):
    """A warning, on stderr."""
    click.echo(f"warning: {text}", err=True)


def _sentence(error):
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror and not _is_ours(error):
        place = error.filename2 or error.filename
        return f"{place}: {error.strerror}" if place else error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory for an input of this size"
    return " ".join(str(error).split())


def _is_ours(error):
    return type(error).__module__.split(".")[0] in OURS


def main(args=None):
    """Entry point: run ``bamac``, exit with a code."""
    try:
        code = root.main(args, prog_name="bamac", standalone_mode=False)
        code = code if isinstance(code, int) else 0
        sys.stdout.flush()
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: nothing was left half-written", err=True)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout has gone; nothing more can be said there
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = EXIT_CHECK
    except Exception as error:
        expected = isinstance(error, (click.ClickException, OSError, MemoryError))
        if os.environ.get("BAMAC_DEBUG"):
            raise
        if _is_ours(error) and type(error).__name__ in FAILED_CHECKS:
            click.echo(f"check failed: {_sentence(error)}", err=True)
            code = EXIT_CHECK
        elif expected or _is_ours(error):
            click.echo(f"error: {_sentence(error)}", err=True)
            code = EXIT_INPUT
        else:
            click.echo(f"error: fault in bamac: {type(error).__name__}: {_sentence(error)} (set "
                       "BAMAC_DEBUG=1 to see where)", err=True)
            code = EXIT_FAULT
    sys.exit(code)


if __name__ == "__main__":
    main()
