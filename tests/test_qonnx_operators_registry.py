"""The registry of operators, and operators that are registered from outside the package."""

from fractions import Fraction

import numpy as np
import pytest
from onnx_builder import SUPPORTED, Builder, after_step, assert_refused, before_step, executed

from bamac.ir import reference
from bamac.qonnx import operators
from bamac.qonnx.operators import CUSTOM, apply_affine, operator, registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """A copy, so that no test leaves an operator behind."""
    monkeypatch.setattr(registry, "_OPERATORS", dict(registry._OPERATORS))


def negate(context, node):
    channels = context.state.shape[1]
    apply_affine(context, [Fraction(-1)] * channels, [Fraction(0)] * channels)


def negated(change, tmp_path):
    """The network of a convolution, ``change``, a step and a head, and its builder."""
    b = Builder()
    b.quant()
    b.conv(3, 1, bias=[0.0, 0.5, -7.0])
    change(b)
    b.step()
    b.head(3)
    return b.load(tmp_path), b


def test_operator_from_outside_is_read_and_equals_qonnx(tmp_path):
    operator("Neg")(negate)
    network, b = negated(lambda b: b.node("Neg"), tmp_path)
    twin, _ = negated(lambda b: b.node("Mul", b.constant(-1.0)), tmp_path)
    assert network.digest() == twin.digest()
    frames = np.random.default_rng(4).integers(-128, 128, (7, 6))
    np.testing.assert_array_equal(reference.run(network, frames).scores,
                                  executed(b.model(), frames)[b.tensor][0])


def test_operator_of_another_domain_is_read(tmp_path):
    operator("Opposite", domain="my.ops")(negate)
    network, _ = negated(lambda b: b.node("Opposite", domain="my.ops"), tmp_path)
    twin, _ = negated(lambda b: b.node("Mul", b.constant(-1.0)), tmp_path)
    assert network.digest() == twin.digest()


def test_the_error_lists_what_is_registered(tmp_path):
    assert operators.supported() == SUPPORTED
    operator("Neg")(negate)
    listed = ", ".join(sorted([*SUPPORTED, "Neg"]))
    assert_refused(before_step(lambda b: b.node("Sigmoid", name="gate")),
                   f"Sigmoid node gate: operation is not supported; use {listed}", tmp_path)


@pytest.mark.parametrize("names, domain, message", [
    (["Neg", "Conv"], "", "Operator 'Conv' of domain '' must be registered once, not again: "
                          "bamac.qonnx.operators.layers.conv handles it"),
    (["Relu"], "ai.onnx", "Operator 'Relu' of domain 'ai.onnx' must be registered once, not again: "
                          "bamac.qonnx.operators.arithmetic.relu handles it"),
    (["Quant"], CUSTOM, "Operator 'Quant' of domain '*' must be registered once, not again: "
                        "bamac.qonnx.operators.quantisers.quant handles it"),
    (["Neg", "Neg"], "", "Operator 'Neg' of domain '' must be registered once, not again: "
                         "test_qonnx_operators_registry.negate handles it")])
def test_operator_is_registered_once(names, domain, message):
    before = dict(registry._OPERATORS)
    with pytest.raises(ValueError) as error:
        operator(*names, domain=domain)(negate)
    assert str(error.value) == message
    assert registry._OPERATORS == before


@pytest.mark.parametrize("names, shown", [((), "()"), ((3,), "(3,)"), (("",), "('',)")])
def test_operator_without_a_name_is_refused(names, shown):
    with pytest.raises(TypeError) as error:
        operator(*names)
    assert str(error.value) == f"Operator must be named by one string or more, not {shown}"


def test_domains_are_told_apart():
    assert operators.find("ai.onnx", "Conv") is operators.find("", "Conv")
    assert operators.find("my.ops", "Conv") is None
    assert operators.find("", "Quant") is None
    assert operators.find("onnx.brevitas", "Quant") is operators.find("any", "Quant")
    operator("Quant", domain="my.ops")(negate)
    assert operators.find("my.ops", "Quant").handle is negate
    assert operators.find("onnx.brevitas", "Quant").handle is not negate


def pad_and(op):
    def change(b):
        b.node("Pad", b.constant([0, 0, 1, 2, 0, 0, 0, 1], np.int64))
        b.node(op, name="next")
    return after_step(change)


def test_only_operators_that_take_padding_may_follow_it(tmp_path):
    operator("Neg")(negate)
    assert_refused(pad_and("Neg"),
                   "Neg node next: a convolution must directly follow the padding", tmp_path)
    taken = []

    @operator("Abs", takes_padding=True)
    def take(context, node):
        taken.append((node.name, context.state.padding))
        context.state.padding = (0, 0, 0, 0)

    pad_and("Abs")().load(tmp_path)
    assert taken == [("next", (1, 0, 2, 1))]
