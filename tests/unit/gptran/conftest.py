"""The fixture of the loop's tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from gptran_world import ROOT, ArithmeticPool, ArithmeticPredictor, ArithmeticTrainer, heads_help


@pytest.fixture
def world(tmp_path):
    """A function that gives a fresh trainer, pool, predictor and folder of one world."""

    def make(quality=heads_help, **pool):
        trainer = ArithmeticTrainer(tmp_path / "root", quality)
        trainer.save(ROOT, trainer.root)
        return SimpleNamespace(
            trainer=trainer,
            pool=ArithmeticPool(trainer, **pool),
            predictor=ArithmeticPredictor(trainer),
            folder=tmp_path / "gptran",
        )

    return make
