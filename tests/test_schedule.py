"""The learning rate of a phase, against values by hand."""

import math

import pytest

from bamac.training.schedule import Phase, phase_of, rate_at


def test_the_rate_is_a_cosine_from_the_peak_after_a_warm_up():
    phase = Phase("one", epochs=5, batch=1, rate=2.0, end=0.5)
    rates = [rate_at(phase, step, 10) for step in range(50)]
    # 0.02 x 50 + 1 = 2 steps to rise
    assert rates[0] == pytest.approx(1.0)
    assert rates[1] == pytest.approx(2.0 * (0.5 + 0.25 * (1 + math.cos(math.pi / 50))))
    assert rates[25] == pytest.approx(1.5)
    assert 1.0 < rates[49] < 1.002 and rates[1:] == sorted(rates[1:], reverse=True)


def test_each_cycle_is_the_same_cosine():
    phase = Phase("one", epochs=4, batch=1, rate=1.0, cycles=2)
    rates = [rate_at(phase, step, 6) for step in range(24)]
    alone = Phase("one", epochs=2, batch=1, rate=1.0)
    assert rates[:12] == rates[12:] == [rate_at(alone, step, 6) for step in range(12)]


def test_an_epoch_is_found_in_its_phase():
    phases = [Phase(name, epochs, batch=1, rate=1.0)
              for name, epochs in (("a", 2), ("none", 0), ("b", 1))]
    found = [phase_of(phases, epoch) for epoch in range(3)]
    assert [(phase.name, within) for phase, within in found] == [("a", 0), ("a", 1), ("b", 0)]
    with pytest.raises(ValueError, match=r"^Epoch must be in 0\.\.2, not 3$"):
        phase_of(phases, 3)
