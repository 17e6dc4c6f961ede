"""`edgetran profile`: a ProfilingJob in words.

It makes the resource that the words stand for and runs it as `edgetran run` would: the same
checks, the same folder, the same result.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer
from pydantic.fields import FieldInfo

from edgetran import api
from edgetran.api.base import ApiModel
from edgetran.api.yaml_text import read_files, write_text
from edgetran.cli.errors import errors
from edgetran.cli.runs import CommandsOption, ResumeOption, run_bundle

PRESETS: Final = ("tiny", "flexibert-2.0")


def _option(
    model: type[ApiModel], field: str, *names: str, panel: str, metavar: str | None = None
) -> Any:
    """An option that is a field of the resource, in the field's own words."""
    info = model.model_fields[field]
    words = [word for word in get_args(info.annotation) if isinstance(word, str)]
    return typer.Option(
        *names,
        metavar=metavar or ("|".join(words) if words else None),
        help=(info.description or "").rstrip(".") + _default(info) + ".",
        rich_help_panel=panel,
        show_default=False,
    )


def _default(info: FieldInfo) -> str:
    if isinstance(info.default, float):
        return f"; {info.default:g} where omitted"
    return f"; {info.default} where omitted" if isinstance(info.default, str | int) else ""


_DEVICE: Final = "What runs"
_WHAT: Final = "What is measured"
_HOW: Final = "How it is measured"
_ENOUGH: Final = "When it is enough"


profile_app = typer.Typer(invoke_without_command=True)


@profile_app.callback()
def profile(
    context: typer.Context,
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="NAME", help="What to call this host.", rich_help_panel=_DEVICE
        ),
    ] = "this-host",
    engine: Annotated[str | None, _option(api.Device, "engine", "--engine", panel=_DEVICE)] = None,
    accelerator: Annotated[
        str | None, _option(api.Device, "accelerator", "--accelerator", panel=_DEVICE)
    ] = None,
    precision: Annotated[
        str | None, _option(api.Device, "precision", "--precision", panel=_DEVICE)
    ] = None,
    threads: Annotated[
        int | None, _option(api.Device, "threads", "--threads", panel=_DEVICE)
    ] = None,
    design_space: Annotated[
        str | None,
        typer.Option(
            "--design-space",
            metavar="PRESET|FILE",
            help=f"The architectures whose cost is to be predicted: {' or '.join(PRESETS)}, or a "
            "YAML file of what `spec.designSpace` holds; tiny where no model is given either.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            metavar="DIR",
            help="Folder of a transformers model to measure, in place of a design space; may be "
            "repeated.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    batch: Annotated[
        int | None, _option(api.WorkloadSpec, "batch_size", "--batch", panel=_WHAT)
    ] = None,
    length: Annotated[
        int | None, _option(api.WorkloadSpec, "sequence_length", "--length", panel=_WHAT)
    ] = None,
    mode: Annotated[str | None, _option(api.MeasurementSpec, "mode", "--mode", panel=_HOW)] = None,
    max_repeats: Annotated[
        int | None, _option(api.MeasurementSpec, "max_repeats", "--max-repeats", panel=_HOW)
    ] = None,
    passes: Annotated[
        int | None, _option(api.MeasurementSpec, "passes", "--passes", panel=_HOW)
    ] = None,
    max_drift: Annotated[
        float | None, _option(api.MeasurementSpec, "max_drift", "--max-drift", panel=_HOW)
    ] = None,
    cool_down: Annotated[
        float | None,
        _option(
            api.MeasurementSpec, "cool_down_seconds", "--cool-down", panel=_HOW, metavar="SECONDS"
        ),
    ] = None,
    power: Annotated[
        str | None,
        _option(api.EnergySettings, "source", "--power", panel=_HOW, metavar="SOURCE"),
    ] = None,
    meter: Annotated[
        str | None,
        _option(api.EnergySettings, "meter", "--meter", panel=_HOW, metavar="ADDRESS"),
    ] = None,
    rails: Annotated[
        list[str] | None,
        _option(api.EnergySettings, "rails", "--rail", panel=_HOW, metavar="LABEL"),
    ] = None,
    peak_window: Annotated[
        float | None,
        _option(api.EnergySettings, "peak_window_ms", "--peak-window", panel=_HOW, metavar="MS"),
    ] = None,
    target_error: Annotated[
        float | None, _option(api.Sampling, "target_error", "--target-error", panel=_ENOUGH)
    ] = None,
    max_measurements: Annotated[
        int | None,
        _option(api.Sampling, "max_measurements", "--max-measurements", panel=_ENOUGH),
    ] = None,
    initial: Annotated[
        int | None, _option(api.Sampling, "initial", "--initial", panel=_ENOUGH)
    ] = None,
    per_round: Annotated[
        int | None, _option(api.Sampling, "batch", "--per-round", panel=_ENOUGH)
    ] = None,
    sampling: Annotated[
        str | None, _option(api.Sampling, "method", "--sampling", panel=_ENOUGH)
    ] = None,
    priors: Annotated[
        list[Path] | None,
        typer.Option(
            "--prior",
            metavar="FILE",
            help="Start from a profile of another device, as `edgetran profile export` wrote it; "
            "may be repeated.",
            rich_help_panel=_ENOUGH,
        ),
    ] = None,
    seed: Annotated[
        int | None, _option(api.ProfilingJobSpec, "seed", "--seed", panel=_WHAT)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Name of the ProfilingJob; DEVICE-ENGINE-PRECISION if omitted."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Set any other field of the ProfilingJob, as in `edgetran run`.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the run; runs/NAME if omitted."
        ),
    ] = None,
    resume: ResumeOption = True,
    allow_commands: CommandsOption = False,
    only_print: Annotated[
        bool,
        typer.Option("--print", help="Print the ProfilingJob as YAML and measure nothing."),
    ] = False,
    explained: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="ARCHITECTURE",
            help="Measure nothing: say what the profile in the run's folder predicts of an "
            "architecture, with shares per operation, and what was measured nearest to it. A JSON "
            "or YAML file of {l, h, f, o}, a model's folder, or a measured graph hash.",
        ),
    ] = None,
) -> None:
    """Measure this host until the cost of other architectures can be predicted.

    The options describe a ProfilingJob: `--print` shows it, and `edgetran run -f` does the same
    with it. After Ctrl-C or a crash the same command continues where it stopped.
    """
    if context.invoked_subcommand is not None:
        return
    spec: dict[str, Any] = {
        "device": {
            "name": device,
            "host": True,
            "engine": engine,
            "accelerator": accelerator,
            "precision": precision,
            "threads": threads,
            "energy": _given(
                source=power or ("external" if meter else "hwmon" if rails else None),
                meter=meter,
                rails=rails or None,
                peakWindowMs=peak_window,
            ),
        },
        "models": [str(path) for path in models] if models else None,
        "workload": {"batchSize": batch, "sequenceLength": length},
        "measurement": {
            "mode": mode,
            "maxRepeats": max_repeats,
            "passes": passes,
            "maxDrift": max_drift,
            "coolDownSeconds": cool_down,
        },
        "sampling": {
            "method": sampling,
            "maxMeasurements": max_measurements,
            "initial": initial,
            "batch": per_round,
            "targetError": target_error,
        },
        "priors": [str(path) for path in priors] if priors else None,
        "seed": seed,
    }
    with errors():
        if design_space is not None or not models:
            spec["designSpace"] = _design_space(design_space or "tiny")
        job = _job(name or _name(device, engine or "torch", precision or "fp32"), spec, settings)
        bundle = api.resolve([job])
    if only_print:
        print(api.dump(job), end="")  # noqa: T201
        return
    folder = output or Path("runs") / job.name
    if explained is not None:
        with errors(folder):
            _explain(folder, device, explained)
        return
    with errors(folder):
        run_bundle(bundle, folder, resume=resume, allow_commands=allow_commands)


@profile_app.command("export")
def export(
    run: Annotated[
        Path, typer.Argument(metavar="NAME|DIR", help="Name or folder of a run that measured.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file.")],
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="Which device; the run's only one."),
    ] = None,
) -> None:
    """Write what a run has measured of a device to one file, with its conditions and a hash.

    Another board of the kind starts from it: `edgetran profile import`, or `--prior`.
    """
    with errors(run):
        from edgetran.runner.exchange import export_device

        profile, digest = export_device(run, device, output)
        count = len(profile.measurements)
        print(f"{output}: {count} measurements of {profile.key}, {digest[:12]}…")  # noqa: T201


@profile_app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `edgetran profile export` wrote.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the run that is to start from it."
        ),
    ],
) -> None:
    """Let a run start from the measurements of another device of the kind.

    The file is checked by its hash and put into the run's folder. `edgetran profile` or
    `edgetran run` with that folder then begins with it, and measures only to correct it.
    """
    with errors(output):
        from edgetran.runner.exchange import import_into

        profile, path = import_into(file, output)
        count = len(profile.measurements)
        print(f"{path}: {count} measurements of {profile.key}")  # noqa: T201


def _explain(folder: Path, device: str, explained: str) -> None:
    """Print what the folder's profile of the device says of an architecture.

    Raises:
        ProfilingError: no profile there, or no such architecture.
    """
    from rich.console import Console

    from edgetran.profiling import Profile, explain
    from edgetran.runner.explanation_view import architecture_named, explanation_view
    from edgetran.runner.folder import RunFolder

    profile = Profile.load(RunFolder(folder).profile(device))
    architecture = architecture_named(explained, profile)
    Console().print(explanation_view(profile, explain(profile, architecture)))


def _job(name: str, spec: dict[str, Any], settings: list[str] | None) -> api.Resource:
    """The resource that the words stand for.

    Raises:
        SpecError: with every problem of it, in the words that a file would get.
    """
    document = {
        "apiVersion": api.API_VERSION,
        "kind": "ProfilingJob",
        "metadata": {"name": name},
        "spec": spec,
    }
    (job,) = api.load_text(write_text([document]), "", settings or ())
    return job


def _given(**values: Any) -> dict[str, Any] | None:
    """The values that are given; None where none is, so that the whole is left out."""
    given = {key: value for key, value in values.items() if value is not None}
    return given or None


def _name(*parts: str) -> str:
    """A name for the job that is valid whatever the parts are: they are checked by themselves."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")[:47].strip("-")


def _design_space(text: str) -> Any:
    """A preset, or the content of a YAML file.

    Raises:
        SpecError: the file cannot be read.
    """
    if text in PRESETS or not (text.endswith((".yaml", ".yml")) or Path(text).is_file()):
        return {"preset": text}
    documents = read_files([text])
    if len(documents) != 1:
        problem = f"{len(documents)} documents were given; allowed is one design space"
        raise api.SpecError([api.SpecProblem(text, "", "", problem)])
    data = documents[0].data
    if isinstance(data, dict):
        data.pop("name", None)  # a design space is called something in its own file alone
    return data
