# amaranth: UnusedElaboratable=no
"""The registry of datapath variants, and the one interface that they share."""

import pytest

from bamac_hw.control.dense_walker import DenseWalker
from bamac_hw.control.event_walker import EventWalker
from bamac_hw.datapath import (
    DatapathSignature,
    DatapathTraits,
    EventDatapath,
    GatedDatapath,
    Int8Datapath,
    PairDatapath,
    register,
    registry,
    variant_of,
)
from bamac_hw.geometry import Geometry
from bamac_hw.memory.window_fetch import WindowFetch, WordFetch
from bamac_hw.output.collector import Collector
from bamac_hw.output.int8_collector import Int8Collector
from bamac_hw.output.int8_write_back import Int8WriteBack
from bamac_hw.output.write_back import WriteBack
from bamac_hw.traits import _VARIANTS, register_traits


@pytest.fixture
def scratch(monkeypatch):
    """Registries that forget what a test adds."""
    before = dict(_VARIANTS)
    monkeypatch.setattr(registry, "_VARIANTS", dict(registry._VARIANTS))
    yield
    _VARIANTS.clear()
    _VARIANTS.update(before)


def traits(lane):
    return type("Traits", (DatapathTraits,), {"lane": lane})()


@pytest.mark.parametrize("name, datapath", [
    ("small", GatedDatapath), ("small_event", EventDatapath), ("small_pair", PairDatapath),
    ("small_int8", Int8Datapath), ("small_dsp", Int8Datapath)])
def test_every_variant_has_the_ports_of_the_signature(name, datapath):
    geometry = Geometry.preset(name)
    found = variant_of(geometry).datapath(geometry)
    assert type(found) is datapath
    assert isinstance(found.signature, DatapathSignature)
    assert set(found.signature.members) == {"layer", "running", "job_start", "work", "weights",
                                            "hits", "results", "head"}
    assert found.signature == DatapathSignature(
        geometry, work=datapath.Work, results=datapath.Results, head=datapath.Head)


@pytest.mark.parametrize("name", Geometry.presets())
def test_a_variants_blocks_agree_on_their_interfaces(name):
    """What one block drives is what the other takes."""
    geometry = Geometry.preset(name)
    variant = variant_of(geometry)
    datapath, walker, fetch = (kind(geometry) for kind in (variant.datapath, variant.walker,
                                                           variant.fetch))
    write_back, collector = variant.write_back(geometry), variant.collector(geometry)

    def pair(source, name, sink, other):
        given, taken = source.signature.members[name], sink.signature.members[other]
        assert given.signature == taken.signature.flip()

    pair(walker, "work", datapath, "work")
    pair(walker, "fetch", fetch, "request")
    pair(walker, "collect", collector, "collect")
    pair(datapath, "results", write_back, "results")
    pair(datapath, "head", collector, "head")
    pair(write_back, "pooled", collector, "pooled")


def test_signatures_of_other_geometries_and_kinds_differ():
    small, large = Geometry.preset("small"), Geometry.preset("large")
    assert DatapathSignature(small) == DatapathSignature(small) != DatapathSignature(large)
    assert DatapathSignature(small) != DatapathSignature(small, work=EventDatapath.Work)
    assert repr(DatapathSignature(small)).endswith(
        "work=WorkSignature, results=SumsSignature, head=HeadSumsSignature)")


def test_what_is_not_given_follows_from_the_traits(scratch):
    register(traits("toy"), GatedDatapath)
    found = variant_of(Geometry("g", lane="toy"))
    assert (found.walker, found.fetch, found.write_back, found.collector) == (
        DenseWalker, WindowFetch, WriteBack, Collector)
    event = variant_of(Geometry("g", walk="event"))
    assert (event.walker, event.fetch, event.write_back) == (EventWalker, WordFetch, WriteBack)
    int8 = variant_of(Geometry("g", lane="int8"))
    assert (int8.write_back, int8.collector) == (Int8WriteBack, Int8Collector)


def test_what_is_given_is_used(scratch):
    class Own(Collector):
        pass

    register(traits("toy"), GatedDatapath, collector=Own)
    assert variant_of(Geometry("g", lane="toy")).collector is Own


def test_a_lane_and_walk_are_registered_once(scratch):
    register(traits("toy"), GatedDatapath)
    with pytest.raises(ValueError, match="Lane toy with walk dense is registered already"):
        register(traits("toy"), GatedDatapath)


def test_traits_alone_make_no_datapath(scratch):
    register_traits(traits("toy"))
    with pytest.raises(LookupError, match="^Lane toy with walk dense has no datapath; "
                                          "add one with bamac_hw.datapath.register$"):
        variant_of(Geometry("g", lane="toy"))
