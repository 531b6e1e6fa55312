"""Results in the terminal."""

from __future__ import annotations

from .wording import variants_of

__all__ = ["print_agreement", "print_fields", "print_network", "print_program", "print_summary"]


def _console():
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def _table(title, *columns):
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True,
                         justify="left" if name in ("layer", "memory", "group") else "right")
    return table


def _bytes(count):
    return f"{count:,.0f} B" if count < 10_000 else f"{count / 1000:,.1f} kB"


def print_summary(result, *, brief=False):
    """The score and its verdict first, then layers and traffic."""
    from rich.markup import escape

    console = _console()
    exact = result["bit_exact"]
    verdict = "[bold green]bit-exact[/]" if exact else "[bold red]NOT bit-exact[/]"
    title = escape(result.get("clip", result["network"]))
    console.print(f"\n[bold]{title}[/]  score [bold]{result['score']:.4f}[/] from the hardware, "
                  f"{result['reference_score']:.4f} from the reference: {verdict}", soft_wrap=True)
    geometry = result["geometry"]
    line = (f"{result['cycles']:,} cycles ({result['predicted_cycles']:,} predicted), "
            f"{result['utilisation']:.1%} of {geometry['lanes']} lanes used")
    if "real_time_factor" in result:
        line += f"; {result['real_time_factor']:.1f} x real time at {result['clock_mhz']:g} MHz"
    console.print(line, soft_wrap=True)
    used = sum(result["memory_bytes"].values())
    console.print(f"{_bytes(used)} on chip ({_bytes(result['memory_count']['binary'])} with whole "
                  f"maps by the paper's count, {_bytes(result['memory_count']['fp32'])} in fp32); "
                  f"about {result['energy_uj']:.1f} uJ (estimate, 45 nm)", soft_wrap=True)
    for text in result["differences"][:5]:
        console.print(f"[red]differs:[/] {escape(text)}", soft_wrap=True)
    if len(result["differences"]) > 5:
        console.print(f"[red]and {len(result['differences']) - 5} more differences[/]")
    if brief:
        return
    int8 = variants_of(result["energy"]["tables"])[0] == "int8"
    table = _table(None, "layer", "equal", "cycles", "compute", "active in",
                   "products" if int8 else "binary MACs")
    for layer in result["layers"]:
        compute = layer["cycles_by_cause"].get("compute", 0) / max(1, layer["cycles"])
        table.add_row(layer["name"], "yes" if layer["bit_exact"] else "[red]no[/]",
                      f"{layer['cycles']:,}", f"{compute:.1%}", f"{layer['density_in']:.1%}",
                      f"{layer['binary_macs']:,}")
    console.print(table)
    table = _table(None, "memory", "counted", "predicted", "lower bound", "ratio")
    for memory, columns in result["traffic"].items():
        counted, bound = columns["counted"]["bytes"], columns["lower_bound"]["bytes"]
        table.add_row(memory.replace("_", " "), _bytes(counted),
                      _bytes(columns["predicted"]["bytes"]), _bytes(bound),
                      f"{counted / bound:.2f}" if bound else "-")
    console.print(table)


def print_program(program, limits):
    """A program: the size and the cost of each layer, see :func:`bamac.perf.cycles.bounds`."""
    console = _console()
    about, geometry = program.manifest["network"], program.geometry
    console.print(f"\n[bold]{about['name']}[/] {about['rows']} x {about['cols']} on array "
                  f"[bold]{geometry.name}[/] ({geometry.lanes} lanes): "
                  f"{_range(limits)} cycles per window")
    exact = limits["best"]["cycles"] == limits["worst"]["cycles"]
    table = _table(None, "layer", "in", "out", "map", "passes", "weight rows", "sum bits",
                   "cycles" if exact else "cycles at most")
    for row, costs in zip(program.layers, limits["worst"]["layers"], strict=True):
        cycles = sum(v for k, v in costs.items() if k.startswith("cycles_"))
        table.add_row(row["name"], str(row["in_channels"]), str(row["out_channels"]),
                      f"{row['conv_rows']} x {row['conv_cols']}", str(row["passes"]),
                      str(row["weight_rows"]),
                      str(1 + max((-1 - row["acc_min"]).bit_length(),
                                  row["acc_max"].bit_length())),
                      f"{cycles:,}")
    console.print(table)
    memory = program.manifest["memory"]
    table = _table(None, "memory", "used", "on the array")
    for name, used in memory["used_bytes"].items():
        capacity = memory["capacity_bytes"].get(name)
        table.add_row(name.replace("_", " "), _bytes(used),
                      "" if capacity is None else _bytes(capacity))
    console.print(table)


def _range(limits):
    least, most = (limits[name]["cycles"] for name in ("best", "worst"))
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def print_network(about):
    """A network's layers."""
    console = _console()
    size = about["input"]
    console.print(f"\n[bold]{about['name']}[/] reads {size['rows']} x {size['cols']} "
                  f"{'signed' if size['signed'] else 'unsigned'} {size['bits']}-bit integers"
                  + (f" of front end {about['front_end']['kind']}"
                     if about["front_end"]["kind"] else ""))
    console.print(f"{about['parameters']:,} parameters, {about['macs']:,} products per window")
    table = _table(None, "layer", "inputs", "outputs", "kernel", "map", "pool", "gives")
    for layer in about["layers"]:
        sizes = (" x ".join(map(str, layer.get(name, ()))) for name in ("kernel", "map", "pool"))
        table.add_row(layer["name"], str(layer["inputs"]), str(layer["outputs"]), *sizes,
                      _gives(layer))
    console.print(table)


def _gives(layer):
    """What a layer hands on, from its description."""
    if layer.get("global_pool") is not None:
        return f"global {layer['global_pool']}"
    if "values" in layer:
        return "values" if layer["values"] else "bits"
    return f"{layer['bits']} bits" if "bits" in layer else layer.get("emit", "")


def print_agreement(result):
    """What ``bamac evaluate`` measured."""
    console = _console()
    table = _table(f"{result['split']} split, level {result['level']}", "group",
                   *result["all"].keys())

    def row(name, values):
        table.add_row(name, *(f"{v:.3f}" if isinstance(v, float) else str(v)
                              for v in values.values()))

    row("all", result["all"])
    for group in ("family", "voice", "degradation"):
        for name, values in result.get(group, {}).items():
            row(f"{group} {name}", values)
    console.print(table)


def print_fields(values):
    """Plain values, one per line."""
    import click

    width = max(len(name) for name in values)
    for name, value in values.items():
        click.echo(f"{name.ljust(width)}  {value}")
