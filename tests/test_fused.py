"""Pool and step as one operation, against PyTorch's pool and the surrogate's formula."""

import pytest
import torch
from torch.nn import functional as F

from bamac.nn import fused
from bamac.nn.config import make_config
from bamac.nn.fused import FusedError, pool_and_step
from bamac.nn.network import Network


def _expected(y, bias, pool, beta, grad):
    """Bits, and the gradients of ``y`` and ``bias`` for the gradient ``grad`` of the bits."""
    y, bias = y.clone().requires_grad_(), bias.clone().requires_grad_()
    z = F.max_pool2d(y, pool)
    sums = torch.cat([z + level[:, None, None] for level in bias], 1)
    slope = 1 / (beta * sums.detach().abs() + 1) ** 2
    (sums * slope).backward(grad)
    return (sums > 0).to(y.dtype), y.grad, bias.grad


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # in PyTorch's own modules
@pytest.mark.parametrize("levels, pool, size", [(3, (2, 2), (7, 5)), (2, (1, 1), (3, 4)),
                                                (1, (2, 2), (4, 6))])
def test_values_and_gradients_with_ties_and_left_over_edges(levels, pool, size):
    torch.manual_seed(levels)
    y = torch.randint(-4, 5, (3, 16, *size)).float().to(memory_format=torch.channels_last)
    bias = torch.randint(-3, 4, (levels, 16)) + 0.25
    inner = y.clone(memory_format=torch.preserve_format).requires_grad_()
    limits = bias.clone().requires_grad_()
    bits = pool_and_step(inner, limits, pool, 2.0)
    grad = torch.randn_like(bits)
    bits.backward(grad)
    wanted = _expected(y, bias, pool, 2.0, grad)
    assert torch.equal(bits, wanted[0])
    torch.testing.assert_close(inner.grad, wanted[1])
    torch.testing.assert_close(limits.grad, wanted[2])
    assert inner.grad.is_contiguous(memory_format=torch.channels_last)


def test_other_pools_are_refused():
    with pytest.raises(ValueError, match="Pool must be 1 x 1 or 2 x 2, not \\(3, 2\\)"):
        pool_and_step(torch.zeros(1, 2, 6, 6), torch.zeros(1, 2), (3, 2), 2.0)


def test_a_network_trains_alike_with_fused_gradients(monkeypatch):
    """The operation by itself is compiled above; here it need not be."""
    monkeypatch.setattr(fused, "_compiled", lambda: fused._gradient)
    torch.manual_seed(1)
    network = Network(make_config("p808")).to(memory_format=torch.channels_last).train()
    network.freeze_norm()
    x = torch.randint(-127, 128, (2, 1, 40, 120)).float().to(memory_format=torch.channels_last)
    gradients = []
    for prepare in (lambda: None, network.fuse):
        prepare()
        network.zero_grad()
        network.maps(x)[-1].mean().backward()
        gradients.append([p.grad.clone() for p in network.convs.parameters()])
    assert all(stage.fused for stage in network.convs)
    for plain, joint in zip(*gradients, strict=True):
        torch.testing.assert_close(joint, plain, rtol=1e-3, atol=1e-6)
    assert max(float(g.abs().max()) for g in gradients[0]) > 1e-4


def test_without_a_compiler_the_error_says_what_to_do(monkeypatch):
    from torch._inductor import cpp_builder

    def nothing():
        raise RuntimeError("no compiler")

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", nothing)
    with pytest.raises(FusedError, match="g\\+\\+.*without --compile"):
        Network(make_config("p808")).fuse()
