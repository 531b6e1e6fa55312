"""Front ends by name: those that come with the package, and one from outside."""

import dataclasses

import numpy as np
import pytest

from bamac.errors import InputError
from bamac.frontends import registry
from bamac.frontends.dnsmos import P808
from bamac.frontends.log_mel import LOG_MEL, features_int8, fewer_bits
from bamac.frontends.metadata import front_end_of, metadata_of
from bamac.ir.network import FrontEnd


@pytest.fixture
def energy(monkeypatch):
    """A front end that no module of the package knows: the level of each of 16 stretches."""
    monkeypatch.setattr(registry._SPECS, "_items", dict(registry._SPECS._items))

    def levels(samples):
        power = (samples.reshape(16, 1, 100) ** 2).mean(axis=2)
        return np.clip(np.rint(np.sqrt(power) * 100), -128, 127).astype(np.int8)

    return registry.register(registry.FrontEndSpec(FrontEnd("toy-levels", 0.0, 100.0), 1600, 16,
                                                   1, 100, 100, levels))


def test_the_front_ends_of_the_package_are_known():
    paper = "logmel-60hz-16k-640-320-120"
    assert registry.kinds() == [*(f"{paper}-{bits}bit" for bits in (3, 4, 5, 6, 7)), paper,
                                "dnsmos-p808-16k-321-160-120"]
    table = {spec.kind: (spec.window, spec.rows, spec.cols, spec.n_fft, spec.hop, spec.bits,
                         spec.front_end.offset, spec.front_end.steps)
             for spec in map(registry.get, registry.kinds())}
    assert table[paper] == (80_000, 249, 120, 640, 320, 8, -6.5, 9.0)
    assert table[f"{paper}-4bit"] == (80_000, 249, 120, 640, 320, 4, -6.5 - 32 / 9, 9 / 16)
    assert table["dnsmos-p808-16k-321-160-120"] == (144_000, 900, 120, 321, 160, 8, 0.0, 127.0)


@pytest.mark.parametrize("bits", [3, 4, 5, 6, 7, 8])
def test_the_papers_front_end_has_forms_with_fewer_bits(bits):
    spec = registry.with_bits(LOG_MEL, bits)
    assert spec.bits == bits
    samples = 0.1 * np.random.default_rng(bits).standard_normal(80_000)
    frames = spec.compute(samples)
    assert frames.shape == (spec.rows, spec.cols) and frames.dtype == np.int8
    np.testing.assert_array_equal(frames, fewer_bits(features_int8(samples), bits))


def test_a_form_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="^Front end must be one of logmel-.*120, "
                                         "not 'dnsmos-p808-16k-321-160-120-4bit'$"):
        registry.with_bits(P808, 4)


def test_a_front_end_from_outside_is_found_for_a_network(energy):
    assert registry.kinds()[-1] == "toy-levels" and registry.get("toy-levels") is energy
    found = registry.spec_for_input("toy", FrontEnd("toy-levels", 0.0, 100.0), 16, 1)
    assert found is energy and found.compute(np.full(1600, 0.5)).tolist() == [[50]] * 16


def test_a_kind_belongs_to_one_front_end(energy):
    assert registry.register(energy) is energy  # the same once more
    with pytest.raises(ValueError, match="^Front end must have a kind of its own, "
                                         "not 'toy-levels'$"):
        registry.register(dataclasses.replace(energy, hop=50))
    with pytest.raises(TypeError, match="^Front end must be a FrontEndSpec with a kind, not None"):
        registry.register(None)


@pytest.mark.parametrize("front_end, shape, complaint", [
    (FrontEnd(), (249, 120), "^Network n reads integer frames and names no front end for audio; "
                             "give it frames as an .npy file with 'bamac simulate'$"),
    (FrontEnd("other"), (249, 120), "^Network n must have the front end FrontEnd.*120-3bit.* or "
                                    r"FrontEnd\(kind='dnsmos.*\), not FrontEnd\(kind='other'"),
    (dataclasses.replace(LOG_MEL.front_end, steps=8.0), (249, 120), "not FrontEnd.*steps=8.0"),
    (LOG_MEL.front_end, (900, 120), "^Network n must read windows of 249 x 120 for audio, "
                                    "not 900 x 120$"),
])
def test_a_network_without_a_fitting_front_end_is_refused(front_end, shape, complaint):
    with pytest.raises(InputError, match=complaint):
        registry.spec_for_input("n", front_end, *shape)


def test_metadata_and_front_end_are_inverse():
    for kind in registry.kinds():
        front_end = registry.get(kind).front_end
        assert front_end_of(metadata_of(front_end)) == front_end
    assert front_end_of({}) == LOG_MEL.front_end
