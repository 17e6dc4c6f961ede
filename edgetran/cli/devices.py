"""`edgetran devices`: this host, the catalogue, a device's roofline, a device fitted to data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgetran.cli.errors import errors

devices_app = typer.Typer(
    help="The devices that a search can choose from, and what this host offers.",
    invoke_without_command=True,
)


@devices_app.callback()
def devices(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List devices, and what was found on this host."""
    if context.invoked_subcommand is not None:
        return
    from edgetran.devices import catalogue, host_info, power_sources, why_unavailable

    host = host_info()
    sources = [(source, why_unavailable(source)) for source in power_sources()]
    if as_json:
        print(  # noqa: T201
            json.dumps(
                {
                    "host": host.to_dict(),
                    "powerSources": [
                        {
                            "name": source.name,
                            "available": reason is None,
                            "reason": reason,
                            "scope": source.scope if reason is None else None,
                            "caveats": list(source.caveats) if reason is None else [],
                        }
                        for source, reason in sources
                    ],
                    "simulated": {name: device.description for name, device in catalogue().items()},
                },
                indent=2,
            )
        )
        return
    from edgetran.runner.host_view import devices_view

    Console().print(devices_view(host, sources, catalogue()))


@devices_app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A device of the catalogue.")],
    design_space: Annotated[
        str,
        typer.Option(
            "--design-space",
            metavar="PRESET|FILE",
            help="Whose architectures to draw: tiny or flexibert-2.0, or a YAML file.",
        ),
    ] = "tiny",
    precision: Annotated[
        str | None,
        typer.Option(help="Precision; the device's first if omitted.", show_default=False),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Sequences per batch.")] = 1,
    length: Annotated[int, typer.Option(min=2, max=8192, help="Tokens per sequence.")] = 128,
    architectures: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many architectures to draw.")
    ] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Which architectures are drawn.")] = 0,
    catalogue_path: Annotated[
        Path | None,
        typer.Option(
            "--catalogue",
            metavar="FILE",
            help="Look for NAME in a file that `edgetran devices fit` wrote.",
        ),
    ] = None,
    published_fit: Annotated[
        bool,
        typer.Option(
            "--published-fit",
            help="With the numbers that were fitted to published measurements of the board, "
            "where there are any.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write a page (.html) or a picture (.png) too."
        ),
    ] = None,
) -> None:
    """Show a simulated device: every number with its source, and its roofline."""
    with errors():
        import numpy as np

        from edgetran.devices import (
            Workload,
            catalogue_file,
            roofline,
            roofline_points,
            simulated_device,
        )
        from edgetran.report.roofline import RooflineChart, write_roofline
        from edgetran.report.roofline_view import roofline_view
        from edgetran.space import DesignSpace, sampling

        device = simulated_device(
            name,
            fitted=published_fit,
            devices=None if catalogue_path is None else catalogue_file(catalogue_path),
        )
        is_file = Path(design_space).is_file() or design_space.endswith((".yaml", ".yml"))
        space = (DesignSpace.from_yaml if is_file else DesignSpace.preset)(design_space)
        precision = precision or device.precisions[0]
        workload = Workload(batch, length)
        roof = roofline(device, precision)
        count = min(architectures, space.cardinality())
        drawn = tuple(sampling.sample(space, count, np.random.default_rng(seed)))
        chart = RooflineChart(
            device=device,
            roofline=roof,
            architectures=drawn,
            points=tuple(roofline_points(device, drawn, workload, precision)),
            space=f"the design space {space.name}",
            workload=workload,
        )
        console = Console()
        console.print(roofline_view(chart))
        if output is not None:
            console.print(f"\n{write_roofline(chart, output)}", highlight=False, soft_wrap=True)


@devices_app.command("fit")
def fit(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Measurements: profiles/DEVICE.jsonl of a run, JSON lines or CSV with the columns "
            "model_dict, latency_ms and perhaps energy_mj, per sequence.",
        ),
    ],
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="NAME",
            help="The catalogue's device to start from; its peaks and its memory are kept.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the fitted device; that of --device if omitted."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Precision of DATA, where it does not say so; the device's first."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Sequences per batch, where DATA does not say it; 1."),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(min=2, max=8192, help="Tokens per sequence, where DATA does not say it; 128."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the fitted device as YAML, with sources."
        ),
    ] = None,
) -> None:
    """Fit a simulated device to measurements of the real one."""
    with errors():
        import yaml

        from edgetran.devices import catalogue_entry, simulated_device
        from edgetran.records import write_atomically
        from edgetran.runner.device_fit import fit_to, fit_view, read_fit_data

        before = simulated_device(device)
        found = fit_to(
            before,
            read_fit_data(data),
            name=name,
            batch=batch,
            length=length,
            precision=precision,
        )
        console = Console()
        console.print(fit_view(before, found))
        if output is not None:
            entry = {found.device.name: catalogue_entry(found.device)}
            text = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, width=100)
            write_atomically(output, text)
            console.print(f"\n{output}", highlight=False, soft_wrap=True)
