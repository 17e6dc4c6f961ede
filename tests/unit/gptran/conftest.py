"""The fixture of the loop's tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from gptran_world import ROOT, ArithmeticPool, ArithmeticPredictor, ArithmeticWorkshop, heads_help


@pytest.fixture
def world(tmp_path):
    """A function that gives fresh (workshop, pool, predictor, root checkpoint) of one world."""

    def make(quality=heads_help, **pool):
        workshop = ArithmeticWorkshop(quality)
        root = workshop.save(ROOT, tmp_path / "root")
        return SimpleNamespace(
            workshop=workshop,
            pool=ArithmeticPool(workshop, **pool),
            predictor=ArithmeticPredictor(workshop),
            root=root,
            folder=tmp_path / "gptran",
        )

    return make
