"""The performance counters that host and gateware agree on: names, order, meaning."""

__all__ = ["COUNTERS", "COUNTER_SLOTS", "counter_index"]

# Counted per layer, in this order; each is 32 bits. ``cycles_*`` add up to all cycles.
COUNTERS = {
    "cycles_compute": "cycles in which a weight row is offered to the lanes",
    "cycles_fetch": "cycles in which the lanes wait for activation words",
    "cycles_tile": "cycles that start or end a tile, double its sums (pair lanes) or read them out "
                   "(int8 lanes)",
    "cycles_collect": "cycles that wait for the serial collector of the head",
    "cycles_load": "cycles that load a descriptor or start values, drain, or save state",
    "cycles_schedule": "cycles that look for the next layer to run",
    "cycles_wait_input": "cycles in which nothing can run until a frame arrives",
    "cycles_wait_output": "cycles in which a score waits to be taken",
    "events": "activation bits that were 1 when offered (int8 lanes: values that were not 0): each "
              "adds one weight row to one pixel",
    "weight_reads": "words read from the weight store, through all of its ports: a row, or two "
                    "with pair lanes",
    "input_reads": "words read from the input buffer",
    "input_writes": "words written to the input buffer",
    "line_reads": "words read from the line buffers",
    "line_writes": "words written to the line buffers",
    "vector_reads": "words read from the vector memory",
    "vector_writes": "words written to the vector memory",
    "descriptor_reads": "words read from the descriptor memory",
    "state_reads": "words read from the layer-state memory",
    "state_writes": "words written to the layer-state memory",
    "scores": "words sent on the score stream",
}
COUNTER_SLOTS = 32  # counters of a layer are this many words apart


def counter_index(layer: int, name: str) -> int:
    """Word index of a counter in the counter window."""
    return layer * COUNTER_SLOTS + list(COUNTERS).index(name)
