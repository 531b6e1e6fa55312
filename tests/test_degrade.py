"""Degradations: which are drawn for which split, and that more severity is worse."""

import numpy as np
import pytest
from made_up_speech import RATE, speech

from bamac.data import degrade


def test_held_out_damage_is_drawn_for_the_test_alone():
    rng = np.random.default_rng(1)
    seen = {name for _ in range(400) for name in degrade.draw_chain(rng)}
    both = {name for _ in range(400) for name in degrade.draw_chain(rng, held_out=True)}
    assert both - seen == set(degrade.TEST_ONLY) and len(seen) == 7
    codecs = {degrade.add_codec(np.sin(np.arange(8000) / 9), rng.random(), rng,
                                degrade.Material())[1]["codec"] for _ in range(60)}
    assert codecs and not codecs & set(degrade.TEST_ONLY_CODECS)


@pytest.mark.parametrize("name", sorted(degrade.DEGRADATIONS))
def test_more_severity_is_worse(name):
    """Every kind of damage moves PESQ down between severity 0.02 and 0.9."""
    import pesq

    rng = np.random.default_rng(4)
    clean = speech(rng, 5)[:5 * RATE]
    other = speech(rng, 5)[:5 * RATE]

    def talker(_rng):
        return other

    talker.name = "other"
    rooms = [np.eye(1, 800)[0], rng.standard_normal(8000) * np.exp(-np.arange(8000) / 1500)]
    rooms[1] /= np.linalg.norm(rooms[1])
    material = degrade.Material(talkers=[talker], rooms=rooms, held_out=True)
    scores = []
    for severity in (0.02, 0.9):
        damaged, steps = degrade.degrade(clean, [name], severity, np.random.default_rng(7),
                                         material)
        assert damaged.shape == clean.shape and steps[0]["kind"] == name
        scores.append(pesq.pesq(RATE, clean, damaged, "wb"))
    assert scores[0] > scores[1] + 0.5
