import numpy as np
import pytest

from bamac.ir import random_networks, reference, trace


@pytest.fixture
def case():
    return random_networks.random_case(1)  # two convolutions, one dense layer


def reference_trace(case, **options):
    result = reference.run(case.network, case.frames[0], **options)
    return trace.from_reference(case.network, case.frames[0], result)


def changed(original, layer, kind, index):
    layers = {name: {k: a.copy() for k, a in arrays.items()}
              for name, arrays in original.layers.items()}
    array = layers[layer][kind]
    array[index] = 1 - array[index] if kind == "bits" else array[index] + 1
    return trace.Trace(layers, "rtl", original.network, original.input)


def test_saved_and_loaded_trace_is_equal(case, tmp_path):
    original = reference_trace(case, keep_acc=True)
    trace.save(original, tmp_path / "a.npz")
    trace.save(original, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = trace.load(tmp_path / "a.npz")
    assert trace.first_divergence(original, loaded) is None
    assert list(loaded.layers) == list(original.layers)
    assert (loaded.source, loaded.network) == ("reference", case.network.digest())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_input_digest_is_of_the_values_not_the_type(case):
    digests = {trace.input_digest(case.frames[0].astype(t)) for t in (np.int16, np.int64)}
    assert len(digests) == 1
    assert trace.input_digest(case.frames[0].T) not in digests


def test_first_divergence_is_in_execution_order(case):
    good = reference_trace(case, keep_acc=True)
    first, second = [conv.name for conv in case.network.convs]
    last = case.network.denses[-1].name
    bad = changed(good, last, "outputs", 0)
    found = trace.first_divergence(good, bad)
    assert (found.layer, found.kind, found.row, found.channel) == (last, "outputs", None, 0)
    bad = changed(bad, second, "bits", (0, 0, 0))
    assert trace.first_divergence(good, bad).layer == second
    # Rows before columns before channels
    bad = changed(bad, first, "bits", (0, 3, 5))
    bad = changed(bad, first, "bits", (1, 3, 4))
    found = trace.first_divergence(good, bad, tile=(2, 2))
    assert (found.layer, found.row, found.col, found.channel) == (first, 3, 4, 1)
    assert found.tile == (1, 2) and found.count == 2
    assert found.first == good.layers[first]["bits"][1, 3, 4] == 1 - found.second
    assert found.acc == (good.layers[first]["acc"][1, 3, 4],) * 2 if found.acc else True


def test_divergence_reads_as_a_sentence():
    found = trace.Divergence("conv2", "bits", 3, 4, 1, 0, 1, 2, 60, (1, 2), (-5, 7))
    assert str(found) == ("layer conv2, row 3, col 4, channel 1 (tile 1, 2): bits 0 and 1, "
                          "accumulators -5 and 7; 2 of 60 differ in this layer")


def test_accumulators_are_compared_where_both_are_kept(case):
    good = reference_trace(case, keep_acc=True)
    name = case.network.convs[0].name
    found = trace.first_divergence(good, changed(good, name, "acc", (0, 1, 2)))
    assert (found.kind, found.row, found.col, found.channel) == ("acc", 1, 2, 0)
    assert trace.first_divergence(good, reference_trace(case)) is None


def test_traces_of_different_networks_or_inputs_are_not_compared(case):
    a, b = reference_trace(case), reference_trace(random_networks.random_case(2))
    with pytest.raises(trace.TraceError) as error:
        trace.first_divergence(a, b)
    assert str(error.value) == (f"Traces must be of the same network, not {a.network[:12]} "
                                f"and {b.network[:12]}")
    c = trace.Trace(a.layers, "rtl", a.network, "0" * 64)
    with pytest.raises(trace.TraceError, match="^Traces must be of the same input, not "):
        trace.first_divergence(a, c)


def test_damaged_files_are_refused(case, tmp_path):
    path = tmp_path / "a.npz"
    trace.save(reference_trace(case), path)
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for i in range(150):
        damaged = bytearray(content)
        if i % 2:
            damaged = damaged[:rng.integers(len(damaged))]
        else:
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            trace.load(path)
        except trace.TraceError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
    assert refused > 100
    for other in (b"", b"some text\n", b"PK\x03\x04"):
        path.write_bytes(other)
        with pytest.raises(trace.TraceError, match="not a trace, or damaged"):
            trace.load(path)


def test_foreign_npz_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(3))
    with pytest.raises(trace.TraceError, match="not a trace, or damaged"):
        trace.load(path)
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(trace.TraceError, match="not a trace, or damaged"):
        trace.load(tmp_path / "a.npy")


def test_newer_schema_is_refused(case, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    monkeypatch.setattr(trace, "SCHEMA", 2)
    trace.save(reference_trace(case), path)
    monkeypatch.undo()
    with pytest.raises(trace.TraceError) as error:
        trace.load(path)
    assert str(error.value) == f"{path}: trace schema must be 1, not 2"


@pytest.mark.parametrize("arrays, source, message", [
    ({"bits": np.zeros((1, 1, 1), np.uint8)}, "chip",
     "Trace source must be one of ('reference', 'rtl'), not 'chip'"),
    ({"acc": np.zeros(1, int)}, "rtl", "Layer x must have either bits or outputs, not ['acc']"),
    ({"bits": np.full((1, 1, 1), 300, np.int64)}, "rtl",
     "Array x/bits must hold bits or values of 8 bits, not 300"),
    ({"outputs": np.zeros(1)}, "rtl",
     "Array x/outputs must be integers of (1,) dimensions, not float64 of shape (1,)"),
])
def test_illegal_traces(arrays, source, message):
    with pytest.raises(trace.TraceError) as error:
        trace.Trace({"x": arrays}, source, "n", "i")
    assert str(error.value) == message
