# amaranth: UnusedElaboratable=no
"""Geometry: what is legal, what is refused and how, and what equal digests mean."""

import pytest

from bamac_hw.accelerator import Accelerator
from bamac_hw.geometry import Geometry, GeometryError


def test_presets_have_the_lanes_they_promise():
    lanes = {name: geometry.lanes for name, geometry in Geometry.presets().items()}
    assert lanes == {"tiny": 32, "small": 128, "small_event": 128, "small_pair": 128,
                     "small_int8": 128, "small_dsp": 128, "large": 256, "general": 128}
    assert Geometry.preset("small").macs_per_cycle == 128
    assert Geometry.preset("small_pair").macs_per_cycle == 256
    assert Geometry.preset("small_int8").macs_per_cycle == 128


@pytest.mark.parametrize("field, value, message", [
    ("tile_rows", 3, "tile_rows must be one of 1, 2, 4, not 3"),
    ("channels", 12, "channels must be one of 4, 8, 16, 32, 64, not 12"),
    ("acc_bits", 40, "acc_bits must be in 16..32, not 40"),
    ("weight_rows", 2.5, "weight_rows must be an integer, not 2.5"),
    ("counters", 1, "counters must be true or false, not 1"),
    ("walk", "sparse", "walk must be one of dense, event, not 'sparse'"),
    ("lane", "triple", "lane must be one of gated, pair, int8, int8_dsp, not 'triple'"),
])
def test_illegal_fields_are_named(field, value, message):
    with pytest.raises(GeometryError) as error:
        Geometry("bad", **{field: value})
    assert str(error.value) == message


@pytest.mark.parametrize("values, message", [
    ({"walk": "event"}, "lane pair must have walk dense, not 'event'"),
    ({"weight_rows": 33}, "weight_rows must be even for pair lanes, not 33"),
])
def test_pair_lanes_need(values, message):
    with pytest.raises(GeometryError) as error:
        Geometry("bad", lane="pair", **values)
    assert str(error.value) == message


@pytest.mark.parametrize("values, message", [
    ({"walk": "event"}, "lane int8 must have walk dense, not 'event'"),
    ({"channels": 4}, "channels must be at least 8 for int8 lanes, not 4"),
])
def test_int8_lanes_need(values, message):
    with pytest.raises(GeometryError) as error:
        Geometry("bad", lane="int8", **values)
    assert str(error.value) == message


@pytest.mark.parametrize("values, message", [
    ({"streams": 3, "walk": "event"}, "streams must be one of 1, 2, not 3"),
    ({"streams": True, "walk": "event"}, "streams must be one of 1, 2, not True"),
    ({"streams": 2}, "walk must be event for 2 streams, not 'dense'"),
    ({"streams": 2, "lane": "pair"}, "walk must be event for 2 streams, not 'dense'"),
    ({"streams": 2, "lane": "pair", "walk": "event"},
     "lane pair must have walk dense, not 'event'"),
    ({"streams": 2, "walk": "event", "tile_rows": 1},
     "tile_rows must be a multiple of the 2 streams, not 1"),
])
def test_streams_need(values, message):
    with pytest.raises(GeometryError) as error:
        Geometry("bad", **values)
    assert str(error.value) == message


def test_ice40_has_no_second_port_for_streams():
    geometry = Geometry("two", walk="event", streams=2)
    with pytest.raises(GeometryError, match="^streams must be 1 on iCE40, whose memories have one "
                                            "read port, not 2$"):
        Accelerator(geometry, family="ice40")


def test_digest_is_of_the_sizes_and_not_of_the_name():
    assert Geometry("one").digest() == Geometry("two").digest()
    assert Geometry("one").digest() != Geometry("one", acc_bits=21).digest()
    assert Geometry("one").digest() != Geometry("one", walk="event").digest()
    assert Geometry("one").digest() != Geometry("one", lane="pair").digest()
    event = Geometry("one", walk="event")
    assert event.digest() != Geometry("one", walk="event", streams=2).digest()
    # From before there were streams
    assert event.digest().startswith("282d275c1f91")


def test_toml_file(tmp_path):
    path = tmp_path / "my-array.toml"
    path.write_text("channels = 16\nacc_bits = 24\n", encoding="utf-8")
    geometry = Geometry.named(path)
    assert (geometry.name, geometry.lanes, geometry.acc_bits) == ("my_array", 64, 24)


def test_toml_with_an_unknown_field_is_refused(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("chanels = 16\n", encoding="utf-8")
    with pytest.raises(GeometryError, match="^Unknown geometry field 'chanels'; known: acc_bits,"):
        Geometry.from_file(path)


def test_missing_file_and_unknown_preset_are_refused(tmp_path):
    with pytest.raises(GeometryError, match="none.toml does not exist$"):
        Geometry.named(tmp_path / "none.toml")
    with pytest.raises(GeometryError, match="^Array preset must be one of tiny, small, "
                                            "small_event, small_pair, small_int8, small_dsp, "
                                            "large, general, not"):
        Geometry.named("huge")


def test_general_has_every_option_that_networks_need():
    general = Geometry.preset("general").to_dict()
    plain = Geometry("plain").to_dict()
    assert {name: general[name] for name in general.keys() - plain.keys()} == {
        "map_head": True, "kernel_most": 15, "axis_strides": True, "zero_rows": True,
        "depthwise": True, "zero_points": True}
