"""A run on a board, in the terminal."""

from __future__ import annotations

__all__ = ["print_board_run"]


def print_board_run(result):
    """Verdict first, then what the hardware counted per layer."""
    from rich.markup import escape

    from .summary import _console, _table

    console = _console()
    score = f"score [bold]{result['score']:.4f}[/] from array {escape(result['array'])} on " \
            f"{escape(result['port'])}"
    if result["checked"]:
        exact = "[bold red]they differ[/]" if result["differences"] else \
            f"[bold green]equal[/], {result['compared']:,} values compared"
        score += f", {result['reference_score']:.4f} from the reference: {exact}"
    console.print(score, soft_wrap=True)
    times = f"{result['load_s']:.2f} s to load, {result['run_s']:.2f} s from the first frame to " \
            "the last score"
    if result["busy_cycles"] is None:
        console.print(times)
        return
    console.print(f"{result['busy_cycles']:,} cycles at work, {result['waiting_cycles']:,} waiting "
                  f"for frames or for scores to be taken; {times}", soft_wrap=True)
    table = _table(None, "layer", "cycles", "compute", "waited for input", "weight rows", "events")
    table.columns[0].justify = "left"
    for layer in result["layers"]:
        busy = sum(value for name, value in layer.items()
                   if name.startswith("cycles_") and not name.startswith("cycles_wait_"))
        table.add_row(escape(layer["name"]), f"{busy:,}", f"{layer['cycles_compute'] / busy:.1%}",
                      f"{layer['cycles_wait_input']:,}", f"{layer['weight_reads']:,}",
                      f"{layer['events']:,}")
    console.print(table)
    for difference in result["differences"][:10]:
        console.print(f"[red]{escape(difference)}[/]", soft_wrap=True)
