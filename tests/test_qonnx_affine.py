"""The exact algebra, against values that are computed another way."""

import random
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import pytest

from bamac.qonnx import affine

DECIMAL_MODES = {"FLOOR": ROUND_FLOOR, "DOWN": ROUND_FLOOR, "CEIL": ROUND_CEILING,
                 "UP": ROUND_CEILING, "HALF_UP": ROUND_HALF_UP, "HALF_DOWN": ROUND_HALF_DOWN}


def any_fraction(rng, low=-40, high=40):
    return Fraction(rng.randint(low, high), rng.randint(1, 12))


@pytest.mark.parametrize("value", [Fraction(9, 4), Fraction(2), Fraction(1, 3), Fraction(0)])
def test_square_root(value):
    root = affine.square_root(value)
    assert abs(root * root - value) <= Fraction(1, 1 << 250)
    assert root == Fraction(3, 2) if value == Fraction(9, 4) else True


@pytest.mark.parametrize("seed", range(20))
def test_square_root_is_exact_or_rounded_down_to_256_bits(seed):
    rng = random.Random(seed)
    root = abs(any_fraction(rng, 0, 1 << 40))
    assert affine.square_root(root * root) == root
    value = Fraction(rng.getrandbits(60), rng.getrandbits(50) + 1)
    found = affine.square_root(value)
    assert found ** 2 <= value < (found + Fraction(1, 1 << 256)) ** 2


def test_fractions_of_floats_are_exact():
    values = np.array([[0.1, -2.5, 3.0], [1e-30, 2.0 ** 70, 0.0]])
    found = affine.exact_fractions(values)
    assert found.shape == (2, 3)
    for value, fraction in zip(values.reshape(-1), found.reshape(-1), strict=True):
        assert (fraction.numerator, fraction.denominator) == float(value).as_integer_ratio()
    assert affine.exact_fractions(np.float32(0.5)).shape == ()


@pytest.mark.parametrize("number, text", [
    (Fraction(-3), "-3"), (Fraction(1, 2), "0.5"), (Fraction(1, 3), "0.333333333"),
    (Fraction(10 ** 20), "1" + "0" * 20), (Fraction(1, 10 ** 9), "1e-09")])
def test_text_of_a_fraction(number, text):
    assert affine.as_text(number) == text


@pytest.mark.parametrize("seed", range(20))
def test_composed_maps_equal_one_after_the_other(seed):
    rng = random.Random(seed)
    gains, offsets, inner_gains, inner_offsets = (
        [any_fraction(rng) for _ in range(4)] for _ in range(4))
    both = affine.compose(gains, offsets, inner_gains, inner_offsets)
    for channel in range(4):
        for x in (-7, 0, Fraction(1, 3), 100):
            inner = inner_gains[channel] * x + inner_offsets[channel]
            assert both[0][channel] * x + both[1][channel] == \
                gains[channel] * inner + offsets[channel], f"seed {seed}, channel {channel}"


@pytest.mark.parametrize("seed", range(20))
def test_batch_norm_equals_its_definition_where_the_root_is_rational(seed):
    rng = random.Random(seed)
    deviations = [abs(any_fraction(rng, 1)) for _ in range(3)]
    gamma, beta, mean = ([any_fraction(rng) for _ in range(3)] for _ in range(3))
    epsilon = Fraction(1, 1000)
    variance = [d * d - epsilon for d in deviations]
    gains, offsets = affine.batch_norm(gamma, beta, mean, variance, epsilon)
    for channel in range(3):
        for x in (-5, 0, Fraction(2, 7)):
            expected = (x - mean[channel]) / deviations[channel] * gamma[channel] + beta[channel]
            assert gains[channel] * x + offsets[channel] == expected, f"seed {seed}"


@pytest.mark.parametrize("scale", [4.0, 0.5])
@pytest.mark.parametrize("mode", ["CEIL", "UP", "ROUND", "HALF_EVEN", "HALF_DOWN", "HALF_UP",
                                  "FLOOR", "DOWN"])
def test_step_level_is_where_qonnx_turns_on(mode, scale):
    from qonnx.custom_op.general.intquant import int_quant

    level, inclusive = affine.step_level(mode, Fraction(scale))
    for x in np.arange(-48, 81) / 8:
        expected = int_quant(np.float32([x]), np.float32(scale), np.float32(0), np.float32(1),
                             0, 0, mode)[0] > 0
        bit = x >= level if inclusive else x > level
        assert bit == expected, f"x = {x}"


def test_step_level_of_an_unknown_mode_is_none():
    assert affine.step_level("STOCHASTIC", Fraction(1)) is None


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_step_threshold_decides_every_integer_as_the_fractions_do(seed, inclusive):
    rng = random.Random(seed)
    gain, offset = any_fraction(rng, -6, 6), any_fraction(rng)
    # Every other level is met by an integer exactly
    level = gain * rng.randint(-9, 9) + offset if seed % 2 else any_fraction(rng)
    sign, threshold = affine.step_threshold(gain, offset, level, inclusive)
    for acc in range(-600, 601):
        real = gain * acc + offset
        expected = real >= level if inclusive else real > level
        assert (sign * acc >= threshold) == expected, f"seed {seed}, acc {acc}"


@pytest.mark.parametrize("offset, inclusive, threshold", [
    (2, False, 1), (2, True, 0), (3, False, 0), (1, True, 1)])
def test_step_of_a_constant_by_hand(offset, inclusive, threshold):
    assert affine.step_threshold(Fraction(0), Fraction(offset), Fraction(2), inclusive) \
        == (0, threshold)


def test_powers_of_two_are_found_and_nothing_else():
    powers = {1 << shift: shift for shift in range(40)}
    for number in [*range(-5, 70), *powers]:
        assert affine.power_of_two(Fraction(number)) == powers.get(number), number
    for ratio in (Fraction(1, 2), Fraction(3, 2), Fraction(4, 3)):
        assert affine.power_of_two(ratio) is None


@pytest.mark.parametrize("shift", range(5))
@pytest.mark.parametrize("mode", DECIMAL_MODES)
def test_shift_bias_rounds_as_decimal_does(mode, shift):
    for eighths in range(-40, 41, 3):
        bias = affine.shift_bias(Fraction(eighths, 8), shift, mode)
        for acc in range(-70, 71):
            exact = (Decimal(acc) + Decimal(eighths) / 8) / (1 << shift)
            expected = max(0, int(exact.quantize(Decimal(1), DECIMAL_MODES[mode])))
            assert max(0, (acc + bias) >> shift) == expected, f"acc {acc}, value {eighths}/8"


@pytest.mark.parametrize("mode", ["ROUND", "HALF_EVEN", "STOCHASTIC"])
def test_other_roundings_have_no_bias_unless_there_is_nothing_to_round(mode):
    assert affine.shift_bias(Fraction(-5), 0, mode) == -5
    assert affine.shift_bias(Fraction(-5), 1, mode) is None
    assert affine.shift_bias(Fraction(1, 2), 0, mode) is None


@pytest.mark.parametrize("seed", range(20))
def test_whole_biases_are_found_if_all_are_whole(seed):
    rng = random.Random(seed)
    biases = [rng.randint(-99, 99) for _ in range(4)]
    scale, offset = any_fraction(rng, 1), any_fraction(rng)
    offsets = [scale * bias + offset for bias in biases]
    assert affine.whole_biases(offsets, scale, offset) == biases
    offsets[rng.randrange(4)] += scale / 2
    assert affine.whole_biases(offsets, scale, offset) is None


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("seed", range(20))
def test_split_offsets_leave_half_a_step_at_most(seed, sign):
    rng = random.Random(seed)
    scale = sign * any_fraction(rng, 1)
    offsets = [any_fraction(rng) for _ in range(5)] + [scale / 2, -scale / 2]
    steps, rest = affine.split_offsets(offsets, scale)
    for offset, n, left in zip(offsets, steps, rest, strict=True):
        assert scale * n + left == offset
        assert -Fraction(1, 2) <= left / scale < Fraction(1, 2), f"seed {seed}"
