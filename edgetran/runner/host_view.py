"""The host and the catalogue of devices as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from edgetran.devices import ENGINES, HostInfo, PowerSource, SimulatedDevice, engine


def devices_view(
    host: HostInfo,
    sources: Sequence[tuple[PowerSource, str | None]],
    catalogue: Mapping[str, SimulatedDevice],
) -> RenderableType:
    """What this host is and has, why the rest is missing, and the simulated devices.

    Args:
        host: this machine.
        sources: every power source, and why it is not available (None where it is).
        catalogue: simulated devices by name.
    """
    return Group(
        _host_table(host),
        _found_table(
            "Accelerators",
            [(a.kind, ", ".join(a.names), a.missing) for a in host.accelerators],
        ),
        _found_table(
            "Power sources",
            [(source.name, _covers(source), reason) for source, reason in sources],
        ),
        _found_table(
            "Engines",
            [(name, _precisions(name), engine(name).available()) for name in ENGINES],
        ),
        _catalogue_table(catalogue),
    )


def _host_table(host: HostInfo) -> Table:
    table = Table(title="This host (host: true)", title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column()
    limit = host.memory_limit_bytes
    cores = f"{host.physical_cores or '?'} physical, {host.logical_cores} logical"
    rows = {
        "Name": host.hostname,
        "Board": host.board or "not reported by the firmware",
        "Processor": f"{host.cpu_model} ({host.architecture})",
        "Cores": f"{cores}, {host.usable_cores:g} usable"
        + ("" if host.cpu_limit is None else f", CPU quota {host.cpu_limit:g}"),
        "ISA": ", ".join(host.instruction_sets) or "none that matter for transformers",
        "Memory": f"{host.memory_bytes / 2**30:.1f} GiB"
        + (f", limited to {limit / 2**30:.1f} GiB" if limit else ""),
        "System": f"{host.os}{', a virtual machine' if host.virtual else ''}",
        "Versions": ", ".join(f"{name} {version}" for name, version in host.versions.items()),
    }
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def _covers(source: PowerSource) -> str:
    return "; ".join((source.scope or "available", *source.caveats))


def _found_table(title: str, rows: Sequence[tuple[str, str, str | None]]) -> Table:
    """One line per thing: found, or why not."""
    table = Table(title=f"\n{title}", title_justify="left", show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, found, missing in rows:
        if missing is None:
            table.add_row(name, "[green]✔[/]", escape(found))
        else:
            table.add_row(name, "[dim]—[/]", escape(missing.removeprefix(f"{name}: ")), style="dim")
    return table


def _catalogue_table(catalogue: Mapping[str, SimulatedDevice]) -> Table:
    table = Table(
        title="\nSimulated devices (simulation: NAME); their figures are calculated, not measured",
        title_justify="left",
        box=None,
    )
    table.add_column("Name", no_wrap=True)
    table.add_column("Board")
    table.add_column("Precisions")
    table.add_column("Power, W", justify="right")
    table.add_column("Memory, GB", justify="right")
    for name, device in catalogue.items():
        table.add_row(
            name,
            escape(device.description),
            ", ".join(device.precisions),
            f"{device.idle_power_w:g}–{device.active_power_w:g}",
            f"{device.memory_mb / 1000:g}",
        )
    return table


def _precisions(name: str) -> str:
    targets = ENGINES[name].precisions.items()
    return "; ".join(f"{target}: {', '.join(precisions)}" for target, precisions in targets)
