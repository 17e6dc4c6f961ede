"""The fixture of the loop's tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from gptran_world import ROOT, ArithmeticPool, ArithmeticPredictor, ArithmeticWorkshop, heads_help


@pytest.fixture
def world(tmp_path):
    """A function that gives a fresh workshop, pool, predictor and folder of one world."""

    def make(quality=heads_help, **pool):
        workshop = ArithmeticWorkshop(tmp_path / "root", quality)
        workshop.save(ROOT, workshop.root)
        return SimpleNamespace(
            workshop=workshop,
            pool=ArithmeticPool(workshop, **pool),
            predictor=ArithmeticPredictor(workshop),
            folder=tmp_path / "gptran",
        )

    return make
