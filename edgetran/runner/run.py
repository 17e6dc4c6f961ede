"""Run a chain of resources on one machine, or a worker's part of it: measure, search, refine.

All state is in the run's folder. Each step continues what the folder holds, so a run that was
interrupted or killed at any moment goes on where it stopped when it is started again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgetran import api
from edgetran.api import CoDesignSearch, GPTranRun
from edgetran.devices import Workload
from edgetran.gptran import GPTranResult, run_gptran
from edgetran.gptran.task_trainer import TaskTrainer
from edgetran.profiling import Predictor
from edgetran.progress import Progress
from edgetran.records import JsonLog, RecordError
from edgetran.runner import translate
from edgetran.runner.another_winner import set_aside_other_tree
from edgetran.runner.chain import Chain
from edgetran.runner.conclusion import conclude
from edgetran.runner.devices import predictors, unpredictable_measures
from edgetran.runner.elastic import AT_A_TIME, ElasticRun, elastic_run
from edgetran.runner.finals import Finalist
from edgetran.runner.folder import RunFolder
from edgetran.runner.forms import scored_as
from edgetran.runner.inputs import InputSource, RunInputs, task_place
from edgetran.runner.model_import import given_model, import_model
from edgetran.runner.network_library import NetworkLibrary
from edgetran.runner.parent import check_tokenizer, inspect_parent
from edgetran.runner.phases import phase_seconds
from edgetran.runner.preflight import check_exports, check_tracking
from edgetran.runner.prior_results import DependencyError, PriorResults
from edgetran.runner.problems import problems_of
from edgetran.runner.profiles import check_priors, measured_here, profile_devices
from edgetran.runner.setting import TaskSetting
from edgetran.runner.tracker import Tracker, tracker_of_chain
from edgetran.runner.training_history import TrainingHistory
from edgetran.runner.verification import verify_finalists
from edgetran.search import Objective, SearchError, SearchResult, read_result, run_search
from edgetran.training import (
    DEFAULT_VOCAB_SIZE,
    TrainingPlan,
    TrialPool,
    TrialSpec,
    check_fit,
    encoded_task,
)
from edgetran.training.content import ROWS, model_files

if TYPE_CHECKING:
    from edgetran.models import Checkpoint


TEACHER: Final = ".teacher"
"""Folder in GPTran's own of what the given model says of the training texts; hidden, because it is
large, soon made again, and no result."""

FIRST_TRAINING: Final = 4
"""A given model without a classifier is first trained as long as so many children."""

FIRST_RATE: Final = 1e-4
"""The highest learning rate of that training: pre-trained weights are soon spoilt by more."""


class RunFailedError(RuntimeError):
    """A run that ended without a result; one sentence, and what is done is kept."""


class NoWinnerError(RunFailedError):
    """A search that is done and of whose candidates none satisfies the constraints."""


def run_chain(
    chain: Chain,
    folder: RunFolder,
    progress: Progress,
    *,
    prior: PriorResults | None = None,
    base: Path | None = None,
    place: str | None = None,
    library: NetworkLibrary | None = None,
) -> dict[str, Any]:
    """Do all that the chain asks for, or what of it is not done yet.

    Args:
        chain: what to do.
        folder: a claimed folder.
        progress: shows how far it is.
        prior: results of other runs to go on from.
        base: where relative paths in the resources begin; the current folder by default.
        place: the folder as others would find it, for a tracking server; its path by default.
        library: elastic networks that runs of this storage share; none by default.

    Returns:
        The content of result.json, which is written last.

    Raises:
        SpecError, TaskError, DesignSpaceError and other ValueErrors: bad input.
        RunFailedError, SearchFailedError, RayClusterError: a run that failed.
        DependencyError: what is given cannot be built on.
        OSError: e.g. no space is left on the disk.
    """
    prior = prior or PriorResults()
    if chain.finalists_of is not None:
        if prior.finalists is None:
            source = chain.finalists_of
            raise DependencyError(f"{source.kind}/{source.name}: its run was not given")
        return verify_finalists(chain, folder, progress, prior.finalists)
    run = _ChainRun(chain, folder, progress, prior, base or Path.cwd())
    run.library = library
    run.tracker = tracker_of_chain(chain, folder, place)
    return run.complete()


def task_setting(chain: Chain, folder: RunFolder, progress: Progress, base: Path) -> TaskSetting:
    """The task of a complete run, loaded again as the run had it.

    Raises:
        SpecError, TaskError: the data cannot be loaded any more.
        ContentError: it is not what the run was made with.
        RunFailedError: the run has no task.
    """
    run = _ChainRun(chain, folder, progress, PriorResults(), base)
    inputs = RunInputs(folder, chain, base)
    inputs.check()
    setting = run.task(inputs, run.inspect([]))
    if setting is None:
        raise RunFailedError(f"{folder.path}: this run has no task, so no model")
    return setting


class _ChainRun:
    def __init__(
        self, chain: Chain, folder: RunFolder, progress: Progress, prior: PriorResults, base: Path
    ) -> None:
        self.chain, self.folder, self.progress = chain, folder, progress
        self.prior, self.base = prior, base
        self.log = JsonLog(folder.log)
        self.tracker: Tracker | None = None
        self.library: NetworkLibrary | None = None

    def complete(self) -> dict[str, Any]:
        self.log.append({"time": _now(), "event": "session"})
        own_jobs = [job for job in self.chain.jobs if job.name not in self.prior.profiles]
        model = self.inspect(own_jobs)
        inputs = RunInputs(self.folder, self.chain, self.base)
        inputs.check()
        task = self.task(inputs, model)
        inputs.keep()
        workload = task.workload if task else Workload(**self.chain.workload.model_dump())
        with self._phase("profiling", *own_jobs):
            profiles = profile_devices(
                self.chain, self.folder, self.progress, workload, prior=self.prior, base=self.base
            )
        for sentence in unpredictable_measures(profiles):
            self.progress.log(sentence)
        finalist: Finalist | None = None
        winner: Finalist | None = None
        baseline: Finalist | None = None
        search: SearchResult | None = None
        gptran: GPTranResult | None = None
        if task is not None:
            devices = predictors(self.chain.devices, profiles, workload)
            with self._pool() as pool, self._tracked():
                if self.chain.search is not None:
                    network = None
                    if model is not None and self.chain.search.spec.parent is not None:
                        with self._phase("elastic", self.chain.search):
                            network = elastic_run(
                                self.chain.search,
                                task,
                                model,
                                pool,
                                folder=self.folder.checkpoints,
                                progress=self.progress,
                                library=self.library,
                            )
                        self.log.append(
                            {"time": _now(), "event": "elastic-trained", **network.facts()}
                        )
                    with self._phase("search", self.chain.search):
                        search = self._search(self.chain.search, task, devices, pool, network)
                        finalist = self._search_winner(search)
                        if network is not None:
                            history = network.history(finalist.history)
                            finalist = replace(finalist, history=history)
                if self.chain.refinement is not None:
                    with self._phase("gptran", self.chain.refinement):
                        finalist = finalist or self._model_to_refine(
                            self.chain.refinement, task, inputs, model, pool
                        )
                        gptran = self._refine(self.chain.refinement, task, devices, pool, finalist)
                winner = self._refined(finalist, gptran)
                with self._phase("baseline"):
                    baseline = self._baseline(task, winner, pool) or self._control(finalist, gptran)
        with self._phase("conclusion"):
            result = conclude(
                self.chain,
                self.folder,
                self.progress,
                task=task,
                profiles=profiles,
                measured_here=measured_here(profiles, self.prior),
                search=search,
                gptran=gptran,
                objective=self._objective(search),
                finalists=(finalist, winner, baseline),
            )
        if self.tracker is not None:
            self.tracker.finish(self.progress)
        return result

    def _tracked(self) -> AbstractContextManager[None]:
        """Trials are shown while they are made, and none while a device is measured."""
        return nullcontext() if self.tracker is None else self.tracker.beside(self.progress)

    def _objective(self, search: SearchResult | None) -> Objective | None:
        """What a search maximised, this run's or the one whose winner is refined."""
        if search is None and self.chain.searched is not None and self.prior.search is not None:
            search = read_result(self.prior.search.trials)
        return None if search is None else search.objective

    def inspect(self, own_jobs: list[api.ProfilingJob]) -> Checkpoint | None:
        """Check the given models before anything is loaded; the parent, or the one to refine."""
        for job in own_jobs:
            for index, path in enumerate(job.spec.models or ()):
                with problems_of(job, f"spec.models[{index}]"):
                    given_model(self.base / path, job.spec.workload.sequence_length)
        check_priors(own_jobs, self.folder, self.base)
        check_exports(self.chain, self.progress)
        if self.tracker is not None:
            check_tracking(self.chain)
        search, refinement = self.chain.search, self.chain.refinement
        if search is not None and search.spec.parent is not None:
            return inspect_parent(search, self.base)
        if self.chain.setting is not None or refinement is None or refinement.spec.model is None:
            return None
        with problems_of(refinement, "spec.model"):
            length = self.chain.workload.sequence_length
            return given_model(self.base / refinement.spec.model, length)

    def task(self, inputs: RunInputs, model: Checkpoint | None) -> TaskSetting | None:
        """Load the task first: bad data is found before anything is measured or trained."""
        source = self.chain.task
        if source is None:
            return None
        workload = self.chain.workload
        length = translate.max_length(source, workload)
        main = self.chain.setting or self.chain.refinement
        assert main is not None  # noqa: S101 - they alone have a task
        reference = inputs.of(translate.task_reference(source, self.base), self.chain)
        vocab_size, tokenizer_folder = DEFAULT_VOCAB_SIZE, None
        parent = getattr(main.spec, "parent", None)
        if model is not None:
            tokenizer_folder = str(model.folder)
            if parent is not None and source.tokenizer.folder is not None:
                with problems_of(main, "spec.task.tokenizer.folder"):
                    check_tokenizer(model, self.base / source.tokenizer.folder)
        elif parent is not None and self.chain.searched is not None:
            # The parent's folder may be out of reach; the winner's holds the same tokenizer.
            tokenizer_folder = str(self._given_winner(self.chain.searched).checkpoint)
        elif source.tokenizer.folder is not None:
            tokenizer_folder = str(self.base / source.tokenizer.folder)
        else:
            vocab_size = source.tokenizer.vocab_size or vocab_size
        trial = TrialSpec(
            architecture={},
            task=reference,
            plan=translate.training_plan(main.spec.training, length),
            seed=main.spec.seed,
            output="",
            vocab_size=vocab_size,
            tokenizer_folder=tokenizer_folder,
            threads=max(1, int(main.spec.ray.cpus_per_trial)),
        )
        if model is None:  # nothing is shown until a given model is known to fit
            self.progress.start("Load the task", total=1)
        with problems_of(main, "spec.task"):
            data = encoded_task(reference, length, vocab_size, tokenizer_folder)
        if model is not None:
            with problems_of(main, "spec.model" if parent is None else "spec.parent"):
                check_fit(model, data, classes=parent is None)
            self.progress.start("Load the task", total=1)
        if source.hub is not None:
            rows = data.task.content_hash()
            inputs.know_rows(task_place(self.chain), source.hub, rows)
            trial = replace(trial, task=replace(reference, content={ROWS: rows}))
        sizes = {part: len(split) for part, split in data.splits.items()}
        self.progress.advance("Load the task")
        self.progress.finish(
            "Load the task",
            note=f"{data.task.name}: {sizes['train']:,} to train on, {sizes['validation']:,} to "
            f"select on, {sizes['test']:,} to test on",
        )
        for note in data.task.notes:
            self.progress.log(note)
        return TaskSetting(
            trial,
            data,
            translate.workload(
                workload, vocab_size=data.vocab_size, num_labels=data.task.num_labels
            ),
        )

    def _pool(self) -> TrialPool:
        main = self.chain.search or self.chain.refinement
        assert main is not None  # noqa: S101 - trials belong to them
        ray = main.spec.ray
        parallel = 1
        if self.chain.search is not None:
            parallel = self.chain.search.spec.search.parallel_trials
        if self.chain.refinement is not None:
            parallel = max(parallel, self.chain.refinement.spec.parallel_trials)
        return TrialPool(
            parallel,
            ray.cpus_per_trial,
            gpus_per_trial=ray.gpus_per_trial,
            ray=translate.ray_settings(ray),
        )

    def _search(
        self,
        search: CoDesignSearch,
        task: TaskSetting,
        devices: list[Predictor],
        pool: TrialPool,
        network: ElasticRun | None,
    ) -> SearchResult:
        spec = search.spec
        plan = translate.search_plan(
            spec,
            task.trial if network is None else network.trial,
            task.workload,
            scored_as(self.chain.devices, task.workload.batch_size),
        )
        if network is not None:
            plan = replace(plan, parallel_trials=min(AT_A_TIME, plan.max_trials))
        result = run_search(
            plan,
            translate.design_space(spec.design_space) if network is None else network.space,
            devices,
            pool if network is None else network.pool,
            log_path=self.folder.trials,
            folder=self.folder.search_checkpoints,
            progress=self.progress,
            finalists=None if network is None else network.finalists,
        )
        if network is not None:
            network.forget_teacher()
        return result

    def _search_winner(self, result: SearchResult) -> Finalist:
        if result.best is None:
            raise NoWinnerError("search: " + "; ".join(result.notes))
        return _best_of(result, self.folder)

    def _model_to_refine(
        self,
        refinement: GPTranRun,
        task: TaskSetting,
        inputs: RunInputs,
        model: Checkpoint | None,
        pool: TrialPool,
    ) -> Finalist:
        if self.chain.searched is not None:
            winner = self._given_winner(self.chain.searched)
            place = f"{refinement.label}: spec.searchRef"
            inputs.know(InputSource(place, model_files(winner.checkpoint)))
            return winner
        assert model is not None  # noqa: S101 - given where there is no search
        return self._given_model(refinement, task, model, pool)

    def _given_winner(self, search: CoDesignSearch) -> Finalist:
        """The winner of a search that another run has made.

        Raises:
            DependencyError: that run's folder does not hold it.
        """
        folder = self.prior.search
        if folder is None:
            raise DependencyError(f"{search.label}: its run was not given")
        try:
            result = read_result(folder.trials)
        except (SearchError, RecordError, OSError) as error:
            raise DependencyError(f"{search.label}: {error}") from None
        if result.best is None:
            raise DependencyError(f"{search.label}: it has no winner")
        winner = _best_of(result, folder)
        if not winner.checkpoint.is_dir():
            raise DependencyError(
                f"{search.label}: the winner's model is missing, {winner.checkpoint}"
            )
        return winner

    def _given_model(
        self, refinement: GPTranRun, task: TaskSetting, model: Checkpoint, pool: TrialPool
    ) -> Finalist:
        raw, first = model.classes is None, refinement.spec.fine_tune_first
        if raw:
            self.progress.log(
                f"{refinement.spec.model} has no classifier: a new one is put on it, "
                + (
                    "and the model is trained on the task before it is refined"
                    if first
                    else "which is not trained, so the given model's own figures say little"
                )
            )
        with problems_of(refinement, "spec.model"):
            checkpoint = import_model(model, task.data, self.folder.checkpoints)
        assert refinement.spec.device is not None  # noqa: S101 - required with a model
        history = TrainingHistory()
        if raw and first:
            checkpoint, history = self._fine_tuned(task, model, checkpoint, pool)
        return Finalist("Given model", refinement.spec.device.name, checkpoint, history)

    def _fine_tuned(
        self, task: TaskSetting, model: Checkpoint, adopted: Path, pool: TrialPool
    ) -> tuple[Path, TrainingHistory]:
        """A given model trained on the task, so that it can be judged and can teach."""
        output = self.folder.checkpoints / f"tuned-{adopted.name.removeprefix('adopted-')}"
        stage = "Train the given model"
        self.progress.start(stage, total=1)
        spec = replace(
            task.trial,
            architecture=model.architecture.to_model_dict(),
            plan=first_training(task.trial.plan),
            output=str(output),
            initial=str(adopted),
        )
        pool.submit("given", spec)
        (outcome,) = pool.completed()
        if outcome.error is not None:
            raise RunFailedError(f"training of the given model: {outcome.error}")
        self.progress.advance(stage)
        self.progress.finish(stage, note=f"validation {outcome.score:.3f}")
        return output, TrainingHistory(
            outcome.seconds, outcome.steps, ("trained on the task first",)
        )

    def _refine(
        self,
        refinement: GPTranRun,
        task: TaskSetting,
        devices: list[Predictor],
        pool: TrialPool,
        root: Finalist,
    ) -> GPTranResult:
        spec = refinement.spec
        if self.chain.search is not None:
            kept = set_aside_other_tree(self.folder, root.checkpoint)
            if kept is not None:
                self.progress.log(
                    f"The search has another winner now, {root.checkpoint.name}: growing and "
                    f"pruning starts over from it; the earlier tree is in {kept}"
                )
        length = task.trial.plan.max_length
        trainer = TaskTrainer(
            task=task.trial.task,
            training=translate.training_plan(spec.training, length, spec.distillation),
            root=root.checkpoint,
            vocab_size=task.trial.vocab_size,
            tokenizer_folder=task.trial.tokenizer_folder,
            importance_by=spec.importance,
            calibration_examples=spec.calibration_examples,
            seed=spec.seed,
            teacher=str(root.checkpoint) if spec.distillation.teacher == "model" else None,
            teacher_cache=str(self.folder.gptran / TEACHER),
            threads=max(1, int(spec.ray.cpus_per_trial)),
            scored_as=scored_as(self.chain.devices, task.workload.batch_size).get(root.device),
        )
        search = self.chain.setting
        budgets = None if search is None else search.spec.constraints
        result = run_gptran(
            translate.gptran_plan(spec, budgets, spec.seed),
            trainer,
            predictor=next(p for p in devices if p.device == root.device),
            pool=pool,
            folder=self.folder.gptran,
            progress=self.progress,
        )
        shutil.rmtree(self.folder.gptran / TEACHER, ignore_errors=True)  # large, and soon made
        return result

    def _refined(self, root: Finalist | None, gptran: GPTranResult | None) -> Finalist:
        """Who goes into the final: the refined model, else the search's best."""
        assert root is not None  # noqa: S101 - a task means a search or a refinement
        if gptran is None or not gptran.improved:
            return root
        return Finalist(
            title="Winner",
            device=root.device,
            checkpoint=gptran.checkpoint,
            history=root.history.with_nodes(gptran.steps, self.folder.gptran),
        )

    def _control(self, root: Finalist | None, gptran: GPTranResult | None) -> Finalist | None:
        """What a refined model of the user's is up to; a search has its baseline."""
        if root is None or gptran is None or self.chain.setting is not None:
            return None
        return control_of(root, gptran, self.folder.gptran)

    def _baseline(self, task: TaskSetting, winner: Finalist, pool: TrialPool) -> Finalist | None:
        """Train the baseline as long as the winner and all its ancestors were trained."""
        search = self.chain.setting
        if search is None or search.spec.baseline is None:
            return None
        architecture = translate.architecture(search.spec.baseline.architecture)
        output = self.folder.checkpoints / "baseline"
        stage = "Baseline"
        self.progress.start(stage, total=1)
        spec = replace(
            task.trial,
            architecture=architecture.to_model_dict(),
            plan=_equally_long(task.trial.plan, winner.history),
            output=str(output),
        )
        pool.submit("baseline", spec)
        (outcome,) = pool.completed()
        if outcome.error is not None:
            raise RunFailedError(f"baseline: {outcome.error}")
        self.progress.advance(stage)
        self.progress.finish(stage, note=f"validation {outcome.score:.3f}")
        return Finalist(
            title="Baseline (BERT-shaped)",
            device=winner.device,
            checkpoint=output,
            history=TrainingHistory(outcome.seconds, outcome.steps, ("trained from scratch",)),
        )

    @contextmanager
    def _phase(self, name: str, *resources: api.Resource) -> Iterator[None]:
        """Mark a phase in the log; refuse to begin it when its resource's time is used up."""
        for resource in resources:
            limit = getattr(resource, "spec").active_deadline_seconds  # noqa: B009
            spent = phase_seconds(self.folder.log).get(name, 0.0)
            if limit is not None and spent > limit:
                raise RunFailedError(
                    f"{resource.label}: spec.activeDeadlineSeconds: {spent:.0f} s of {limit} s "
                    "are used up"
                )
        self.log.append({"time": _now(), "event": "phase", "phase": name})
        yield
        self.log.append({"time": _now(), "event": "phase-end", "phase": name})


def _best_of(result: SearchResult, folder: RunFolder) -> Finalist:
    """The winner of a search whose run is in `folder`."""
    assert result.best is not None  # noqa: S101 - the callers have asked
    trial, evaluation = result.best
    return Finalist(
        title="Search's best",
        device=evaluation.candidate.device,
        checkpoint=folder.search_checkpoints / (trial.checkpoint or ""),
        history=TrainingHistory.of_trial(trial, result.trials, folder.search_checkpoints),
    )


def control_of(root: Finalist, gptran: GPTranResult, folder: Path) -> Finalist | None:
    """The refined model trained as long as the winner without any change; None for no control.

    Args:
        root: the model that was refined, from whose training both go on.
        gptran: what became of it.
        folder: of GPTran's tree.
    """
    control = gptran.control
    if control is None or control.checkpoint is None:
        return None
    return Finalist(
        title="Control (given model, trained as long)",
        device=root.device,
        checkpoint=folder / control.checkpoint,
        history=root.history.with_nodes([control], folder),
    )


def first_training(plan: TrainingPlan) -> TrainingPlan:
    """How a pre-trained model is trained on the task: longer and more gently than a child."""
    limited = plan.steps is not None or plan.epochs is not None or plan.max_seconds is not None
    longer = plan.repeated(FIRST_TRAINING) if limited else plan
    return replace(longer, learning_rate=min(plan.learning_rate, FIRST_RATE))


def _equally_long(plan: TrainingPlan, history: TrainingHistory) -> TrainingPlan:
    """The plan with that budget: its seconds, or its steps where time is no limit."""
    if plan.max_seconds is None and history.steps:
        return replace(plan, epochs=None, steps=history.steps, max_seconds=None)
    return replace(plan, epochs=None, steps=None, max_seconds=max(1.0, history.seconds))


def _now() -> str:
    return datetime.now(UTC).isoformat()
