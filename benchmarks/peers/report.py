"""``reports/peers.md``: the tables, and what is comparable and what is not."""

from bamac.files import write_text

__all__ = ["report"]

UTILISATION = {60: 0.97, 16: 0.92}      # of peak, dense walk
LUTS = 45                               # per peak MAC and cycle, dense walk


def report(path, peers, mine, about):
    """Write the report; return the missed targets as sentences."""
    lines = [
        "# A peer on the same layers: NNgen", "",
        f"Made by `{about['command']}` on {about['date']} with {about['nngen']}, bamac "
        f"{about['bamac']}, Verilator {about['verilator']}, {about['yosys']}, Python "
        f"{about['python']}. The layer is a 3 x 3 convolution, 32 to 32 channels, zero padding, "
        f"on 60 x 60 and on 16 x 16, int8 weights. All outputs of every run were compared: "
        f"NNgen's with its own software model, ours with the integer reference, and our "
        f"counters with the model.", "",
        "| accelerator | map | activations | MACs per cycle at most | cycles of the layer | "
        "utilisation |", "|---|---|---|---|---|---|"]
    for row in peers:
        lines.append(f"| NNgen | {row['size']} x {row['size']} | int{row['act_bits']} | "
                     f"{row['peak']} | {row['cycles']:,} | {row['utilisation']:.1%} |")
    for row in mine:
        lines.append(f"| ours, `{row['array']}` | {row['size']} x {row['size']} | 0/1 | "
                     f"{row['peak']} | {row['cycles']:,} | {row['utilisation']:.1%} |")
    lines += ["", "Utilisation: the layer's MACs, those of padding included, against what the "
              f"array could do in those cycles. The event-driven walk (`small_event`) skips rows "
              f"without a 1, so it can exceed 100 %; here {mine[0]['ones']:.0%} of the inputs are "
              f"active, far more than in a trained network.", ""]
    lines += _lost(mine) + _bytes(peers, mine) + _area(peers, mine) + _alike(peers, mine)
    missed = _missed(mine)
    lines += ["## Targets", "", *([f"- Missed: {text}." for text in missed]
                                  or ["All met."]),
              "", f"They are: utilisation of the dense walk at least {UTILISATION[60]:.0%} on "
              f"60 x 60 and {UTILISATION[16]:.0%} on 16 x 16, and at most {LUTS} LUT4 (two for "
              f"each CCU2C) per MAC and cycle for the whole accelerator `small`.", ""]
    write_text(path, "\n".join(lines))
    for text in missed:
        print("missed:", text)
    return missed


def _missed(mine):
    missed = []
    for row in mine:
        if row["array"] == "small":
            wanted = UTILISATION[row["size"]]
            if row["utilisation"] < wanted:
                missed.append(f"utilisation {row['utilisation']:.1%} on {row['size']} x "
                              f"{row['size']}, of {wanted:.0%}")
    if "area" not in mine[0]:
        missed.append("LUTs were not measured")
    elif (per_mac := mine[0]["area"]["lut4"] / mine[0]["peak"]) > LUTS:
        missed.append(f"{per_mac:.1f} LUT4 per MAC and cycle, of {LUTS}")
    return missed


def _lost(mine):
    causes = [cause for cause in mine[0]["causes"] if any(row["causes"][cause] for row in mine)]
    lines = ["Our cycles by cause:", "", f"| array | map | {' | '.join(causes)} | whole run |",
             "|---" * (len(causes) + 3) + "|"]
    for row in mine:
        counts = " | ".join(f"{row['causes'][cause]:,}" for cause in causes)
        lines.append(f"| `{row['array']}` | {row['size']} x {row['size']} | {counts} | "
                     f"{row['run_cycles']:,} |")
    return [*lines, "", "`compute` adds weights; `tile` loads start values and captures signs; "
            "`load` reads the layer's descriptor, its start values and drains the pipeline for "
            "each row of tiles; `schedule` looks for the next job. The whole run, from the start "
            "to the score, has the layers that make and take the maps in it.", ""]


def _bytes(peers, mine):
    lines = ["## External bytes", "",
             "| accelerator | map | activations | moved | compulsory | moved / compulsory |",
             "|---|---|---|---|---|---|"]
    for row in peers:
        lines.append(f"| NNgen, one layer | {row['size']} x {row['size']} | "
                     f"int{row['act_bits']} | {row['bytes']:,} | {row['compulsory_bytes']:,} | "
                     f"{row['bytes'] / row['compulsory_bytes']:.2f} |")
    for row in mine:
        if row["array"] != mine[0]["array"]:    # others differ by a few weight rows
            continue
        total = row["stream_bytes"] + row["program_bytes"] + row["score_bytes"]
        again = row["stream_bytes"] + row["score_bytes"]
        lines.append(f"| ours, `{row['array']}`, whole network, with loading the program | "
                     f"{row['size']} x {row['size']} | 0/1 | {total:,} | "
                     f"{row['compulsory_bytes']:,} | {total / row['compulsory_bytes']:.2f} |")
        lines.append(f"| the same, each further input | {row['size']} x {row['size']} | 0/1 | "
                     f"{again:,} | {row['size'] ** 2 // 8 + 4:,} | "
                     f"{again / (row['size'] ** 2 // 8 + 4):.2f} |")
    return [*lines, "", "NNgen's are the beats on its AXI port times 4 bytes; compulsory are the "
            "layer's input, weights and output, each once. Ours never moves an inner layer's maps: "
            "the rows are for the little network around the layer, whose compulsory bytes are its "
            "input bits, all its weights and the score. The stream takes one byte for a value of "
            "1 bit, and the program has start values, descriptors and rows filled up to the "
            "array's channels.", ""]


def _area(peers, mine):
    lines = ["## LUTs, ECP5, no DSP", "",
             "| accelerator | LUT4 + 2 per CCU2C | LUT memories | flip-flops | block RAMs | "
             "LUT4 per MAC and cycle at most |", "|---|---|---|---|---|---|"]
    rows = [(f"NNgen, int{row['act_bits']} x int8, 16 x 16", row) for row in peers
            if "area" in row]
    rows += [(f"ours, `{row['array']}`", row) for row in mine
             if row["size"] == 16 and "area" in row]
    for name, row in rows:
        area = row["area"]
        assert not area["dsp"]
        lines.append(f"| {name} | {area['lut4']:,} | {area['lutram']:,} | {area['ff']:,} | "
                     f"{area['block_rams']:,} | {area['lut4'] / row['peak']:.1f} |")
    left_out = [f"NNgen's int{row['act_bits']} accelerator" for row in peers
                if row["size"] == 16 and "area" not in row]
    left_out += [f"`{row['array']}`" for row in mine if row["size"] == 16 and "area" not in row]
    if left_out:
        lines += ["", f"Not synthesised in this run (`--area`): {', '.join(left_out)}."]
    return [*lines, "", "Yosys, `synth_ecp5 -nodsp`, whole accelerators with their host ports, "
            "after mapping, nothing placed.", ""]


def _alike(peers, mine):
    slow, = (row for row in mine if row["array"] == "small" and row["size"] == 16)
    load = -(-slow["program_bytes"] // 4)
    return [
        "## What is alike, and what is not", "",
        "- Alike: the layer, weights of 8 bits, exact integer results, Verilog under the same "
        "Verilator, the same Yosys commands, a 32-bit port to the outside.",
        "- NNgen's activations are int2 or int8, and its outputs are shifted and clipped to that "
        "type; ours are 0/1 on both sides. An int2 product is a little more than a gated addition, "
        "an int8 product much more.",
        "- NNgen's accelerator is made for this one layer; another layer needs another bitstream. "
        "Ours runs any network that the compiler maps; the program is data.",
        f"- NNgen's cycles hold its reading of weights and maps from external memory, which in "
        f"part it waits for. Ours keep weights on chip from one input to the next, so loading is "
        f"not in the cycles: with the whole program written anew for each input, one word per "
        f"cycle ({load:,} cycles), `small` would reach "
        f"{slow['macs'] / slow['peak'] / (slow['cycles'] + load):.1%} on 16 x 16.",
        "- Ours is the second layer of a little network (1 to 32 channels, the layer, 32 to 1, a "
        "score), because the accelerator reads one channel. Its counters give the cycles in which "
        "the array was held by that layer, from the look for its job to its saved place; the "
        "other layers' cycles are theirs, in the last column above.",
        "- NNgen's peak here is 144 products per cycle (9 taps, 4 x 4 channels), ours 128 "
        "additions.", ""]
