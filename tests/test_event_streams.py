"""The estimates of walks with more than one event per cycle, against a walk bit by bit."""

import numpy as np

from bamac.compiler import compile_network
from bamac.ir import reference
from bamac.ir.random_networks import paper_network
from bamac.perf.events import layer_unions
from bamac_hw.geometry import Geometry
from benchmarks.event_streams import WAYS, estimate


def test_shares_of_one_clip():
    case = paper_network(rows=24)
    program = compile_network(case.network, Geometry.preset("small_event"))
    trace = reference.run(case.network, case.frames[0])
    names, rows = estimate(program, case.network, case.frames[:1])
    found = {row[0]: dict(zip([*names, "all"], row[1:], strict=True)) for row in rows}
    words = next(layer_unions(program, trace, case.frames[0]))
    events = [[[bit for bit in range(16) if int(word) >> bit & 1] for word in tile]
              for job in words for tile in job]
    one = sum(len(word) for tile in events for word in tile)
    by_hand = {
        "any two": sum(-(-sum(map(len, tile)) // 2) for tile in events),
        "pair lanes, two events": sum(-(-len(word) // 2) for tile in events for word in tile),
        "the same": sum(len({bit // 2 for bit in word}) for tile in events for word in tile),
        "pair lanes, one event of the even channels": sum(
            max(sum(bit % 2 == odd for word in tile for bit in word) for odd in (0, 1))
            for tile in events),
        "pair lanes, one event of the even words": sum(
            max(sum(map(len, tile[odd::2])) for odd in (0, 1)) for tile in events),
    }
    for start, cycles in by_hand.items():
        way, = (way for way in WAYS if way.startswith(start))
        assert found[way]["conv1"] == cycles / one
    # Scanners of single pixels: all ones under all taps of all pixels, a quarter for each
    top, _, left, _ = case.network.convs[0].padding
    ones = np.bitwise_count(np.abs(case.frames[0].astype(int)))
    rows, cols = 2 * words.shape[0], 2 * words.shape[1]
    padded = np.zeros((rows + 2, cols + 2), int)
    inside = padded[top:top + len(ones), left:left + ones.shape[1]]
    inside += ones[:inside.shape[0], :inside.shape[1]]
    alone = sum(padded[i:i + rows, j:j + cols].sum() for i in range(3) for j in range(3))
    assert found["a scanner for each pixel, each at its own pace"]["conv1"] == alone / 4 / one
    rows_of_tile, pixels = [found[f"a scanner for each {part}, in step tile by tile"]
                            for part in ("row of a tile's pixels", "pixel")]
    assert pixels["all"] < rows_of_tile["all"] < 1
