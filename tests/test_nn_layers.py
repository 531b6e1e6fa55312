"""Parts of layers in training: the binary step and its gradient, and max pooling."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bamac.nn.pooling import max_pool
from bamac.nn.surrogate import binary_step

# --- The binary step


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


# --- Max pooling


def _both(x, size):
    """Values and gradients of both, for the same random gradient of the result."""
    found = []
    for pool in (max_pool, F.max_pool2d):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        out = pool(leaf, size)
        grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
        out.backward(grad)
        found.append((out.detach(), leaf.grad))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 5, 8, 6), (2, 5, 7, 9), (1, 4, 2, 3), (3, 1, 3, 2)])
@pytest.mark.parametrize("format", [torch.channels_last, torch.contiguous_format])
def test_equals_pytorch_with_many_ties(dtype, shape, format):
    x = torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    (value, grad), (expected, expected_grad) = _both(x.to(memory_format=format), (2, 2))
    assert torch.equal(value, expected)
    assert torch.equal(grad, expected_grad)


@pytest.mark.parametrize("size", [(3, 2), (1, 2)])
def test_other_windows_equal_pytorch(size):
    x = torch.randn(2, 3, 7, 8).to(memory_format=torch.channels_last)
    (value, grad), (expected, expected_grad) = _both(x, size)
    assert torch.equal(value, expected)
    assert torch.equal(grad, expected_grad)


def test_channels_last_stays_channels_last():
    x = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last)
    assert max_pool(x, (2, 2)).is_contiguous(memory_format=torch.channels_last)


def test_no_pool_is_the_map_itself():
    x = torch.randn(1, 2, 3, 4)
    assert max_pool(x, (1, 1)) is x
