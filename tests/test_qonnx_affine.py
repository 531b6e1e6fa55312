"""The exact algebra, against fractions that are computed another way."""

from fractions import Fraction

import pytest

from bamac.qonnx import affine


@pytest.mark.parametrize("value", [Fraction(9, 4), Fraction(2), Fraction(1, 3), Fraction(0)])
def test_square_root(value):
    root = affine.square_root(value)
    assert abs(root * root - value) <= Fraction(1, 1 << 250)
    assert root == Fraction(3, 2) if value == Fraction(9, 4) else True
