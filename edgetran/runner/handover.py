"""`edgetran export` and `edgetran push`: a folder with a model that others can use."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgetran import api
from edgetran.artifacts import Artifact, ArtifactError, Form
from edgetran.progress import SilentProgress
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.chain import Chain, plan_chain
from edgetran.runner.export import latency_figures
from edgetran.runner.folder import RunFolder, RunFolderError
from edgetran.runner.judged_artifact import JudgedArtifact, judge_artifact, of_artifact
from edgetran.runner.measured import MEASURED, measured_record
from edgetran.runner.model_card import example, model_card
from edgetran.runner.run import task_setting
from edgetran.runner.setting import TaskSetting
from edgetran.search import read_result
from edgetran.training import evaluation_batch, save_tokenizer
from edgetran.training.disk import new_folder

BERT: Final = "bert"
HUB: Final = "hub:"


@dataclass(frozen=True)
class HandedOver:
    """A folder that was written, and what the model in it scores."""

    path: Path
    artifact: Artifact
    figures: dict[str, Any]


def export_model(
    run: RunFolder, form: Form, *, trial: int | None = None, output: Path | None = None
) -> HandedOver:
    """Write a folder with a run's winner, or the model of one of its trials, in a form.

    Args:
        run: the folder of a complete run.
        form: engine, precision and way to int8.
        trial: number of the search's trial; the winner where None.
        output: the folder; a new one in the run's `exports/` where None.

    Raises:
        RunFolderError: no complete run, no such trial, or a folder that holds something else.
        EngineError: the engine is not installed here, or cannot convert the model.
        TaskError: the run's data cannot be loaded, or is too little to calibrate by.
    """
    run.read_result()
    chain = plan_chain(api.load_bundle(run.spec))
    checkpoint = _checkpoint(run, trial)
    name = "winner" if trial is None else f"trial-{trial}"
    target = output or run.path / "exports" / f"{name}-{form.name}"
    if target.exists() and not (target / "artifact.json").is_file() and any(target.iterdir()):
        raise RunFolderError(f"{target}: holds no export; give a new folder with --output")
    setting = task_setting(chain, run, SilentProgress(), Path.cwd())
    place = run.artifacts / ("winner" if trial is None else f"trial-{trial}")
    models = ModelArtifacts(checkpoint, place, setting.data, batch_size=setting.workload.batch_size)
    judged = judge_artifact(
        models,
        form,
        setting.data,
        batch_size=evaluation_batch(form, setting.workload.batch_size),
    )
    (latency,) = latency_figures([judged], setting.workload, [])
    figures = judged.accuracies(setting.data)
    figures |= {"latencyMs": of_artifact(latency, judged.artifact)}
    title = chain.name if trial is None else f"{chain.name}, trial {trial}"
    predictions = judged.test_predictions(setting.data)
    measured = measured_record(chain.name, setting.workload, figures, predictions)
    _write(target, title, models, judged, setting, measured, _parent(chain))
    return HandedOver(target, Artifact.load(target), figures)


def push(model: Path, to: str, *, public: bool = False) -> str:
    """Copy an exported folder to another place, or upload it to the Hugging Face hub.

    Args:
        model: what `export_model` wrote; its content is checked by hash first.
        to: `hub:OWNER/NAME`, or a folder that does not exist yet.
        public: whether a repository that is made new on the hub may be read by everybody.

    Returns:
        Where it is now.

    Raises:
        RunFolderError: no exported folder, a target that exists, a hub that cannot be reached or
            does not let us in; one sentence.
    """
    try:
        Artifact.load(model)
    except ArtifactError as error:
        raise RunFolderError(f"{error}; `edgetran export` writes a folder to push") from None
    if to.startswith(HUB):
        return _upload(model, to.removeprefix(HUB), public=public)
    target = Path(to)
    if target.exists():
        raise RunFolderError(f"{target}: exists; allowed is a new folder, or hub:OWNER/NAME")
    with new_folder(target) as temporary:
        shutil.copytree(model, temporary, dirs_exist_ok=True)
    return str(target)


def _checkpoint(run: RunFolder, number: int | None) -> Path:
    if number is None:
        if not run.model.is_dir():
            raise RunFolderError(f"{run.path}: holds no model/; this run has trained nothing")
        return run.model
    if not run.trials.exists():
        raise RunFolderError(f"{run.path}: --trial {number}: this run has no search")
    trials = {t.number: t for t in read_result(run.trials).trials if t.checkpoint is not None}
    if number not in trials:
        known = ", ".join(map(str, sorted(trials)))
        raise RunFolderError(
            f"{run.path}: --trial {number}: no such trial with a model; allowed are {known}"
        )
    checkpoint = run.search_checkpoints / str(trials[number].checkpoint)
    if not checkpoint.is_dir():
        raise RunFolderError(f"{checkpoint}: is missing; the model of trial {number} was deleted")
    return checkpoint


def _parent(chain: Chain) -> str | None:
    refinement = chain.refinement
    return None if refinement is None else refinement.spec.model


def _write(
    target: Path,
    title: str,
    models: ModelArtifacts,
    judged: JudgedArtifact,
    setting: TaskSetting,
    measured: dict[str, Any],
    parent: str | None,
) -> None:
    """The folder, whole or not at all; an earlier export there is replaced."""
    artifact = judged.artifact
    files = [
        ("config.json", "architecture, label names"),
        ("tokenizer.json", "the tokenizer, with tokenizer_config.json"),
        ("artifact.json", "what the model is, by hash, and how it was quantised"),
        (MEASURED, "what was measured of it, which `edgetran serve` compares with"),
        ("example.py", "classifies texts"),
    ]
    with new_folder(target) as folder:
        copied = artifact.copied_to(folder / "artifact")
        for path in (copied.path, copied.path.parent / "artifact.json"):
            path.rename(folder / path.name)
        (folder / "artifact").rmdir()
        (folder / "config.json").write_text(models.model.config.to_json_string(), encoding="utf-8")
        save_tokenizer(setting.data, folder)
        (folder / MEASURED).write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
        if judged.form.is_plain and _save_bert(models, setting, folder / BERT):
            files.append((f"{BERT}/", "the same as `BertForSequenceClassification`"))
        (folder / "example.py").write_text(example(artifact), encoding="utf-8")
        card = model_card(
            title,
            artifact,
            models.model.config.to_architecture(),
            setting.data,
            measured["figures"],
            parent=parent,
            files=files,
        )
        (folder / "README.md").write_text(card, encoding="utf-8")


def _save_bert(models: ModelArtifacts, setting: TaskSetting, folder: Path) -> bool:
    """The model in BERT's own form, where it has one, which transformers loads by itself."""
    from edgetran.models import BertConversionError, to_bert
    from edgetran.training.quiet import quiet_transformers

    try:
        bert = to_bert(models.model)
    except BertConversionError:
        return False
    with quiet_transformers():
        bert.save_pretrained(folder)
    save_tokenizer(setting.data, folder)
    return True


def _upload(model: Path, repository: str, *, public: bool) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        raise RunFolderError(f"hub:{repository}: HF_HUB_OFFLINE is set; nothing was sent")
    hub = HfApi()
    try:
        hub.create_repo(repository, private=not public, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=model,
            commit_message="EdgeTran export",
            ignore_patterns=[".*", "**/.*"],
        )
    except HFValidationError as error:
        raise RunFolderError(f"hub:{repository}: {_line(error)}") from None
    except HfHubHTTPError as error:
        raise RunFolderError(
            f"hub:{repository}: the hub refused: {_line(error)}; log in with `hf auth login`"
        ) from None
    except Exception as error:  # noqa: BLE001 - of the client's HTTP library, which changes
        raise RunFolderError(
            f"hub:{repository}: the hub cannot be reached: {_line(error)}; allowed without a "
            "network is a folder: --to DIR"
        ) from None
    return f"https://huggingface.co/{repository}"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
