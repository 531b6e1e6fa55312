"""The step function of binary maps: its values, and the gradient in place of its own."""

import numpy as np
import pytest
import torch

from bamac.nn.surrogate import binary_step


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("levels", [1, 3])
def test_a_step_with_biases_has_a_channel_per_level(levels, layout):
    rng = np.random.default_rng(levels)
    z, bias = rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(levels, 4))
    above = torch.tensor(z).to(memory_format=layout).requires_grad_()
    limits = torch.tensor(bias, requires_grad=True)
    bits = binary_step(above, 3.0, limits)
    sums = z[:, None] + bias[None, :, :, None, None]        # (n, levels, channels, rows, cols)
    np.testing.assert_array_equal(bits.detach(), (sums > 0).reshape(2, levels * 4, 5, 3))
    assert bits.is_contiguous(memory_format=layout)

    wanted = rng.normal(size=bits.shape)
    bits.backward(torch.tensor(wanted))
    shares = wanted.reshape(sums.shape) / (3 * np.abs(sums) + 1) ** 2
    np.testing.assert_allclose(above.grad, shares.sum(1))
    np.testing.assert_allclose(limits.grad, shares.sum((0, 3, 4)))


def test_a_step_without_biases_is_at_zero():
    z = torch.tensor([[-1.0, 0.0, 0.5]], requires_grad=True)
    bits = binary_step(z, 2.0)
    bits.sum().backward()
    assert bits.tolist() == [[0, 0, 1]]
    np.testing.assert_allclose(z.grad[0], [1 / 9, 1, 1 / 4])
