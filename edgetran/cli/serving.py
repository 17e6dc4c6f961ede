"""`edgetran serve`: a run's winner behind the Open Inference Protocol."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgetran.cli.errors import FAILED, errors, fail

if TYPE_CHECKING:
    from edgetran.serving.drift import Verdict

_PACKAGES: Final = ("aiohttp", "numpy", "prometheus_client", "tokenizers")


def serve(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|MODEL", help="Folder of a run, or one that `edgetran export` wrote."
        ),
    ],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = 8080,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at; 0.0.0.0 lets others in, who need no password."),
    ] = "127.0.0.1",
    name: Annotated[
        str | None, typer.Option(help="The model's name in addresses; the run's if omitted.")
    ] = None,
    max_drift: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="How far the shares of classes may be off the test part's."
        ),
    ] = 0.2,
    max_confidence_drift: Annotated[
        float, typer.Option(min=0, max=1, help="How far the mean confidence may be off it.")
    ] = 0.1,
    max_slowdown: Annotated[
        float, typer.Option(min=0, max=100, help="How much slower it may be: 0.5 is by half.")
    ] = 0.5,
) -> None:
    """Answer requests with a run's winner, by the Open Inference Protocol v2, until Ctrl-C.

    The artefact is the one that was timed and scored; its hash is checked. /metrics and
    /served-as-measured say whether it does here what was measured.
    """
    missing = next((each for each in _PACKAGES if importlib.util.find_spec(each) is None), None)
    if missing is not None:
        fail(f'{missing} is not installed: pip install "edgetran[serve]"', FAILED)
    with errors():
        import asyncio

        from edgetran.serving.drift import Tolerances
        from edgetran.serving.served_model import find_model
        from edgetran.serving.server import ModelServer
        from edgetran.serving.server import serve as serve_model
        from edgetran.serving.text_model import TextModel

        found = find_model(model, name=name)
        with TextModel(found) as opened:
            server = ModelServer(opened, Tolerances(max_drift, max_confidence_drift, max_slowdown))

            def started(at: int) -> None:
                print(  # noqa: T201
                    f"{found.artifact.path}: {found.artifact.words}, "
                    f"{found.artifact.sha256[:12]}…, is served at "
                    f"http://{host}:{at}/v2/models/{found.name}",
                    flush=True,
                )

            asyncio.run(serve_model(server, host, port, started=started, told=_tell))


async def _tell(verdict: Verdict) -> None:
    print(verdict.message, flush=True)  # noqa: T201
