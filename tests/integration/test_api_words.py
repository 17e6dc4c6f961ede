"""What resources may say is what the library can do: no word more, no word less."""

import re
from typing import get_args

import pytest

from edgetran.api import (
    ArchitectureSource,
    DesignSpaceSource,
    EnergySettings,
    HomogeneousArchitecture,
    Refinement,
    SearchSettings,
    SimulatedDeviceName,
    TaskSource,
)
from edgetran.api.architecture import HeadType
from edgetran.api.device import ACCELERATORS, PRECISIONS
from edgetran.api.export import EXPORT_METHODS, EXPORT_PRECISIONS, ExportTarget
from edgetran.devices import ENGINES, EXPORT_ENGINES, catalogue, power_sources
from edgetran.devices import METHODS as INT8_METHODS
from edgetran.gptran.steps import STAGES
from edgetran.search.methods import METHODS
from edgetran.space import HEAD_TYPES, Architecture, DesignSpace
from edgetran.training import TaskReference

pytestmark = pytest.mark.integration


def words(model, field):
    """The allowed words of a field that is a choice, a list of choices, or none."""
    annotation = model.model_fields[field].annotation
    while not isinstance(get_args(annotation)[0], str):
        annotation = get_args(annotation)[0]
    return get_args(annotation)


def test_simulated_devices_are_those_of_the_catalogue():
    assert set(get_args(SimulatedDeviceName)) == set(catalogue())


def test_engines_accelerators_and_precisions_are_those_that_exist():
    assert set(ACCELERATORS) == set(ENGINES)
    for name, engine in ENGINES.items():
        assert set(ACCELERATORS[name]) == set(engine.precisions)
        for accelerator, precisions in engine.precisions.items():
            assert PRECISIONS[name, accelerator] == precisions


def test_a_model_is_handed_over_for_the_engines_in_the_precisions_that_exist():
    assert set(words(ExportTarget, "engine")) == set(EXPORT_PRECISIONS) == set(EXPORT_ENGINES)
    for name, engine in EXPORT_ENGINES.items():
        assert EXPORT_PRECISIONS[name] == engine.precisions["cpu"]
        assert EXPORT_METHODS[name] == ("auto", *INT8_METHODS[name])


def test_power_sources_are_those_that_exist():
    named = set(words(EnergySettings, "source")) - {"auto", "none", "external"}
    assert named == {source.name for source in power_sources()}


def test_methods_and_stages_are_those_that_exist():
    assert SearchSettings().method in METHODS
    told = re.findall(r"[a-z0-9]+", SearchSettings.model_fields["method"].description)
    assert set(METHODS) <= set(told)
    assert words(Refinement, "stages") == STAGES


def test_head_types_and_presets_are_those_of_the_design_spaces():
    assert get_args(HeadType) == HEAD_TYPES
    for preset in words(DesignSpaceSource, "preset"):
        assert DesignSpace.preset(preset).cardinality() > 1


def test_design_spaces_and_architectures_are_read_by_the_library():
    inline = DesignSpaceSource.model_validate(
        {"layers": [2], "hiddenSizes": [64], "heads": [2], "feedForwardWidths": [128]}
    )
    space = DesignSpace.from_dict(inline.to_mapping())
    assert (space.head_types, space.max_stack) == (HEAD_TYPES, 1)
    shape = HomogeneousArchitecture(layers=2, hidden_size=128, heads=12, feed_forward=(512,))
    built = Architecture.from_model_dict(ArchitectureSource(homogeneous=shape).to_model_dict())
    assert built == Architecture.homogeneous(
        num_layers=2, hidden_size=128, num_heads=12, feed_forward=[512]
    )


def test_every_source_of_a_task_is_one_of_the_library():
    for source in ("name", "folder", "files", "hub"):
        assert source in TaskSource.model_fields
        assert hasattr(TaskReference, source)
