"""The search loop: propose, train in parallel, judge, log; a killed search goes on from its logs.

Proposal n is made knowing exactly the trials up to n − p, where p trials run in parallel,
whichever order they finish in. So the proposals depend on the seed and the results alone, not on
timing, and a search that was killed makes the ones that it would have made.

Weights may be lost while the logs stay. A trial whose weights are lost gives none to later ones: a
trial that was to inherit them is trained from fresh weights, and its record names no parent. The
winner's are made again at the end.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgetran.devices import Figure
from edgetran.progress import Progress, SilentProgress
from edgetran.records import JsonLog
from edgetran.search.asktell import Proposal
from edgetran.search.candidates import Candidate, SearchError
from edgetran.search.finalists import (
    SHORT_SHARE,
    Finalists,
    Pool,
    calibration,
    promising,
    ranked,
)
from edgetran.search.logs import PROPOSALS_NAME, read_header, read_trials
from edgetran.search.methods import make_method
from edgetran.search.objective import Objective, Weights
from edgetran.search.plan import SearchPlan
from edgetran.search.problem import Problem, make_problem, silent_measures
from edgetran.search.result import SearchResult, shortfall
from edgetran.search.spaces import PairSpace
from edgetran.search.trials import (
    FIDELITIES,
    FULL_TRAINING,
    SCHEMA_VERSION,
    SHARED_WEIGHTS,
    SHORT_TRAINING,
    Evaluation,
    PlannedTrial,
    Trial,
)
from edgetran.space import Architecture, DesignSpace

if TYPE_CHECKING:
    from edgetran.profiling import Predictor
    from edgetran.training import TrialOutcome, TrialSpec

STAGE: Final = "Search"
"""The title under which the loop reports its progress."""

FINALISTS: Final = "Finalists"
"""The title under which it reports the training of those that were only estimated."""

_NO_SPACE: Final = "no-space"


class SearchFailedError(RuntimeError):
    """A search that had to end without a result, e.g. after too many failed trials."""


def run_search(
    plan: SearchPlan,
    space: DesignSpace,
    predictors: Sequence[Predictor],
    pool: Pool,
    *,
    log_path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    progress: Progress | None = None,
    finalists: Finalists | None = None,
) -> SearchResult:
    """Search the space on the predictors' devices, or go on with the search that the log holds.

    Args:
        plan: what to do.
        space: the architectures.
        predictors: one per device.
        pool: runs the trials.
        log_path: trials.jsonl; the proposals go into `PROPOSALS_NAME` beside it.
        folder: gets one folder per trained model, `trial-0000` and so on.
        progress: is told of every trial.
        finalists: where `pool` only estimates candidates, how the best of them are trained.

    Raises:
        InfeasibleSearchError: no candidate can satisfy the constraints; nothing was trained.
        SearchFailedError: more than `plan.max_failed_trials` trials failed.
        SearchError: the log is of another search, or the plan asks for what cannot be.
        OSError: no space is left on the disk; the trial counts as not run.
    """
    log_path = Path(log_path)
    pairs = PairSpace(space, predictors, plan.workload, max_positions=plan.max_positions)
    search = _Search(
        plan, pairs, pool, log_path, Path(folder), progress or SilentProgress(), finalists
    )
    return search.run()


class _Search:
    """A running search: the logs on disk are its state, the rest is rebuilt from them."""

    def __init__(
        self,
        plan: SearchPlan,
        space: PairSpace,
        pool: Pool,
        log_path: Path,
        folder: Path,
        progress: Progress,
        finalists: Finalists | None,
    ) -> None:
        self._plan, self._space, self._pool = plan, space, pool
        self._finalists = finalists
        self._folder, self._progress = folder, progress
        self._trial_log = JsonLog(log_path)
        self._proposal_log = JsonLog(log_path.with_name(PROPOSALS_NAME))
        self._trials = {trial.number: trial for trial in read_trials(log_path)}
        self._problem, self._notes = self._begin()
        self._planned = [
            PlannedTrial.from_dict(record)
            for record in self._proposal_log
            if record["record"] == "proposal"
        ]
        self._method = make_method(
            plan.method,
            space,
            objective=self._problem.objective,
            constraints=plan.constraints,
            seed=plan.seed,
            initial=plan.initial_trials,
            **plan.method_options,
        )
        for planned in self._planned:
            self._method.expect(planned.proposal.candidate)
        self._told = 0
        self._submitted: set[int] = set(self._trials)
        self._started: dict[int, str] = {}
        self._orphans: set[int] = set()
        self._exhausted = False

    def run(self) -> SearchResult:
        """Run until the trials are used up."""
        title, total = STAGE, self._plan.max_trials
        for note in self._notes:
            self._progress.log(note)
        self._progress.start(title, total=total, done=len(self._trials))
        self._check_failures()
        self._submit()
        for outcome in self._pool.completed():
            fidelity = FULL_TRAINING if self._finalists is None else SHARED_WEIGHTS
            trial = self._finish(self._planned[int(outcome.key)], outcome, fidelity)
            self._trial_log.append(trial.to_dict())
            self._trials[trial.number] = trial
            if not trial.succeeded:
                self._progress.log(f"trial {trial.number} failed: {trial.error}")
            self._progress.advance(title, note=self._best_so_far())
            self._check_failures()
            self._submit()
        if self._finalists is not None:
            self._progress.finish(title, note=self._best_so_far())
            title = FINALISTS
            self._train_finalists(self._finalists)
        self._bring_back_best()
        self._progress.finish(title, note=self._best_so_far())
        result = self._result()
        told = calibration(result.trials)
        return result if told is None else replace(result, notes=(*result.notes, told))

    def _train_finalists(self, finalists: Finalists) -> None:
        """Train the best of the estimated trials: some for a while, the better half to the end."""
        chosen = ranked(self._trials.values(), self._problem, SHARED_WEIGHTS)[: finalists.count]
        count = len(chosen) if len(chosen) > 1 else 0
        going_on = max(1, (len(chosen) + 1) // 2)
        self._progress.start(FINALISTS, total=count + going_on)
        if count:
            first = chosen[:going_on]
            self._train(finalists, first, SHORT_TRAINING)
            rest = count - len(first)
            second = promising(self._trials.values(), self._problem, first, rest)
            self._train(finalists, second, SHORT_TRAINING)
            trained = [self._trials[number] for number in (*first, *second)]
            chosen = ranked(trained, self._problem, SHORT_TRAINING)[:going_on]
        self._train(finalists, chosen, FULL_TRAINING)
        if chosen and not any(self._trials[number].succeeded for number in chosen):
            last = self._trials[chosen[-1]]
            raise SearchFailedError(
                f"search: none of the {len(chosen)} finalists could be trained; the last one, "
                f"trial {last.number}: {last.error}"
            )

    def _train(self, finalists: Finalists, numbers: Sequence[int], fidelity: str) -> None:
        """Train estimated trials as far as a fidelity asks, where they are not yet."""
        for number in numbers:
            trial = self._trials[number]
            if FIDELITIES.index(trial.fidelity) >= FIDELITIES.index(fidelity):
                self._progress.advance(FINALISTS)
                continue
            self._started[number] = _now()
            spec = self._spec(number, trial.candidate.architecture, trial.seed, None)
            if fidelity == SHORT_TRAINING:
                spec = replace(spec, pause_at=SHORT_SHARE, scored_as=())
            finalists.pool.submit(str(number), spec)
        for outcome in finalists.pool.completed():
            before = self._trials[int(outcome.key)]
            trial = self._finish(self._planned[before.number], outcome, fidelity)
            known = {**before.estimates, before.fidelity: before.trained_accuracy or 0.0}
            trial = replace(trial, estimates=known)
            self._trial_log.append(trial.to_dict())
            self._trials[trial.number] = trial
            if not trial.succeeded:
                self._progress.log(f"trial {trial.number} failed: {trial.error}")
            self._progress.advance(FINALISTS, note=self._best_so_far())
            self._check_failures()

    def _begin(self) -> tuple[Problem, list[str]]:
        """The problem: its objective as the header fixed it, or made now and fixed there."""
        plan, fingerprint = self._plan, self._fingerprint()
        header = read_header(self._proposal_log.path)
        if header is None:
            if self._trials:
                raise SearchError(
                    f"{self._trial_log.path}: holds trials, but {PROPOSALS_NAME} is not beside it"
                )
            problem = make_problem(
                self._space,
                weights=plan.weights,
                normalisers=dict(plan.normalisers),
                constraints=plan.constraints,
                scale=plan.scale,
                front=plan.front,
                seed=plan.seed,
            )
            notes = silent_measures(problem)
            self._proposal_log.append(
                {
                    "record": "search",
                    "schema_version": SCHEMA_VERSION,
                    "fingerprint": fingerprint,
                    "objective": problem.objective.to_dict(),
                    "notes": notes,
                }
            )
            return problem, notes
        if header["fingerprint"] != fingerprint:
            raise SearchError(
                f"{self._trial_log.path}: holds another search (space, devices, objective, "
                "constraints, method, seed or training differ); allowed is a new folder"
            )
        objective = Objective.from_dict(header["objective"])
        return Problem(self._space, objective, plan.constraints), list(header["notes"])

    def _fingerprint(self) -> str:
        """Identity of the search: of all that its proposals and results depend on."""
        plan = self._plan
        trial = replace(plan.trial, architecture={}, seed=0, output="", parent=None, cache_dir=None)
        tokenizer = trial.tokenizer_folder and Path(trial.tokenizer_folder).name
        identity: dict[str, Any] = {
            "space": self._space.design_space.to_dict(),
            "devices": list(self._space.devices),
            "workload": plan.workload.to_dict(),
            "objective": [(plan.weights or Weights()).to_dict(), dict(plan.normalisers)],
            "constraints": plan.constraints.to_dict(),
            "method": [plan.method, dict(plan.method_options), plan.initial_trials],
            "seed": plan.seed,
            "seeds": [architecture.canonical_json for architecture in plan.seed_architectures],
            "trial": trial.training
            | {"task": trial.task.identity(), "tokenizer_folder": tokenizer},
        }
        if plan.front is not None:
            identity["front"] = asdict(plan.front)
        if plan.scale != "log":
            identity["scale"] = plan.scale
        if self._finalists is not None:
            identity["finalists"] = dict(self._finalists.identity)
        if plan.scored_as:
            identity["scored_as"] = {name: each.to_dict() for name, each in plan.scored_as.items()}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def _submit(self) -> None:
        """Start trials until all that may run are running: planned ones first, then new ones."""
        while len(self._submitted) - len(self._trials) < self._plan.parallel_trials:
            planned = self._next()
            if planned is None:
                return
            self._submitted.add(planned.number)
            self._started[planned.number] = _now()
            parent = planned.parent
            if parent is not None and not self._checkpoint(parent).is_dir():
                self._orphans.add(planned.number)
                self._progress.log(
                    f"trial {planned.number}: the weights of its parent, trial {parent}, are lost; "
                    "it is trained from fresh weights"
                )
                parent = None
            architecture = planned.proposal.candidate.architecture
            spec = self._spec(planned.number, architecture, planned.seed, parent)
            self._pool.submit(str(planned.number), spec)

    def _next(self) -> PlannedTrial | None:
        """The next trial to start; None where there is none or its knowledge is not there yet."""
        for planned in self._planned[: self._plan.max_trials]:
            if planned.number not in self._submitted:
                return planned
        number = len(self._planned)
        if number >= self._plan.max_trials or self._exhausted:
            return None
        known = number - self._plan.parallel_trials + 1
        if any(earlier not in self._trials for earlier in range(known)):
            return None
        while self._told < known:
            self._tell(self._trials[self._told])
            self._told += 1
        proposal = self._propose()
        if proposal is None:
            self._exhausted = True
            self._progress.log(f"no new feasible candidate is left after {number} trials")
            return None
        planned = self._plan_trial(number, proposal)
        self._proposal_log.append(planned.to_dict())
        self._planned.append(planned)
        return planned

    def _propose(self) -> Proposal | None:
        """A seed architecture that is not tried yet, then what the method proposes."""
        tried = {planned.proposal.candidate.architecture.graph_hash for planned in self._planned}
        for architecture in self._plan.seed_architectures:
            if architecture.graph_hash in tried:
                continue
            candidate = Candidate(architecture, self._space.devices[0])
            candidate = self._problem.best_siblings([candidate])[0]
            if self._problem.feasible([candidate]):
                self._method.expect(candidate)
                return Proposal(candidate, "seed")
        return next(iter(self._method.propose(1)), None)

    def _plan_trial(self, number: int, proposal: Proposal) -> PlannedTrial:
        parent, ratio = self._parent(proposal.candidate.architecture)
        seed = int(np.random.SeedSequence([self._plan.seed, number]).generate_state(1)[0])
        return PlannedTrial(number, proposal, parent, ratio, seed)

    def _parent(self, child: Architecture) -> tuple[int | None, float | None]:
        """The known trained architecture that would give most of its weights, and the share."""
        from edgetran.models import predicted_transfer_ratio

        ratios = {
            number: predicted_transfer_ratio(
                self._trials[number].candidate.architecture,
                child,
                vocab_size=self._plan.workload.vocab_size,
                max_positions=self._plan.max_positions,
                num_labels=self._plan.workload.num_labels,
            )
            for number in range(self._told)
            if self._trials[number].succeeded and self._checkpoint(number).is_dir()
        }
        if not ratios:
            return None, None
        parent = max(ratios, key=lambda number: (ratios[number], -number))
        return parent, float(ratios[parent])

    def _checkpoint(self, number: int) -> Path:
        return self._folder / f"trial-{number:04d}"

    def _spec(
        self, number: int, architecture: Architecture, seed: int, parent: int | None
    ) -> TrialSpec:
        trial = self._plan.trial
        if self._finalists is not None and number in self._trials:
            trial = self._finalists.trial(number, architecture)
        return replace(
            trial,
            architecture=architecture.to_model_dict(),
            seed=seed,
            output=str(self._checkpoint(number)),
            parent=None if parent is None else str(self._checkpoint(parent)),
            scored_as=tuple(dict.fromkeys(self._plan.scored_as.values())),
        )

    def _bring_back_best(self) -> None:
        """Train the winner again where its weights are lost, and first its ancestors' that are."""
        best = self._result().best
        lost: list[Trial] = []
        trial = None if best is None else best[0]
        while trial is not None and not self._checkpoint(trial.number).is_dir():
            lost.insert(0, trial)
            trial = None if trial.parent is None else self._trials[trial.parent]
        for trial in lost:
            self._progress.log(
                f"trial {trial.number}: its weights are lost and the winner needs them; "
                "training it again"
            )
            architecture = trial.candidate.architecture
            spec = self._spec(trial.number, architecture, trial.seed, trial.parent)
            pool = self._pool if self._finalists is None else self._finalists.pool
            pool.submit(str(trial.number), spec)
            for outcome in pool.completed():
                _refuse_full_disk(outcome, trial.number)
                if outcome.error is not None:
                    raise SearchFailedError(
                        f"search: trial {trial.number} failed when it was trained again: "
                        f"{outcome.error}"
                    )

    def _finish(self, planned: PlannedTrial, outcome: TrialOutcome, fidelity: str) -> Trial:
        """Judge what a training or an estimate came to, on every device."""
        _refuse_full_disk(outcome, planned.number)
        error = outcome.error
        if error is None and (outcome.score is None or not np.isfinite(outcome.score)):
            error = f"{outcome.selection_metric}: {outcome.score} is not a finite number"
        candidate = planned.proposal.candidate
        orphan = planned.number in self._orphans
        evaluations: list[Evaluation] = []
        if error is None:
            others = [c for c in self._space.siblings(candidate) if c.device != candidate.device]
            pairs = [candidate, *others]
            for pair, known in zip(pairs, self._space.known(pairs), strict=True):
                measures = replace(known, accuracy=self._accuracy(outcome, pair.device, fidelity))
                if outcome.parameters:
                    measures = replace(measures, parameters=outcome.parameters)
                evaluations.append(Evaluation.of(self._problem, pair, measures))
        return Trial(
            number=planned.number,
            candidate=candidate,
            evaluation=evaluations[0] if evaluations else None,
            others=tuple(evaluations[1:]),
            proposed_by=f"{self._plan.method}/{planned.proposal.strategy}",
            predicted_accuracy=planned.proposal.predicted_accuracy,
            parent=None if orphan else planned.parent,
            predicted_transfer_ratio=None if orphan else planned.predicted_transfer_ratio,
            transfer_ratio=outcome.transfer_ratio,
            seed=planned.seed,
            started=self._started[planned.number],
            finished=_now(),
            training_seconds=outcome.seconds,
            attempts=outcome.attempts,
            place=outcome.place,
            error=error,
            error_kind=outcome.error_kind if outcome.error else error and "not-finite",
            checkpoint=(
                self._checkpoint(planned.number).name
                if error is None and fidelity == FULL_TRAINING
                else None
            ),
            trained_accuracy=outcome.score if error is None else None,
            artifacts={} if error else {name: dict(s) for name, s in outcome.scores.items()},
            fidelity=fidelity,
        )

    def _accuracy(self, outcome: TrialOutcome, device: str, fidelity: str) -> Figure:
        """Of the artefact that runs on the device, else of the trained model."""
        trained = float(outcome.score or 0.0)
        if fidelity != FULL_TRAINING:
            return Figure(trained, "", "estimated")
        scoring = self._plan.scored_as.get(device)
        if scoring is None:
            return Figure(trained, "", "measured")
        score = outcome.scores.get(scoring.form.name) or {"error": "it was not scored"}
        value = (score.get("metrics") or {}).get(outcome.selection_metric)
        if value is None or not np.isfinite(value):
            why = score.get("error") or f"{outcome.selection_metric}: {value} is not finite"
            reason = f"of PyTorch fp32, not of {scoring.form.words}: {why}"
            return Figure(trained, "", "measured", reason=reason)
        return Figure(float(value), "", "measured")

    def _tell(self, trial: Trial) -> None:
        if not trial.succeeded:
            self._method.tell_failure(trial.candidate)
        for evaluation in trial.evaluations:
            self._method.tell(evaluation.candidate, evaluation.measures)

    def _check_failures(self) -> None:
        failed = [trial for trial in self._trials.values() if not trial.succeeded]
        allowed = self._plan.max_failed_trials
        if len(failed) > allowed:
            raise SearchFailedError(
                f"search: {len(failed)} trials failed, more than maxFailedTrials, {allowed}; the "
                f"last one, "
                f"trial {failed[-1].number}: {failed[-1].error}"
            )

    def _result(self) -> SearchResult:
        notes = list(self._notes)
        trials = tuple(self._trials[number] for number in sorted(self._trials))
        result = SearchResult(trials, self._problem.objective)
        if result.best is None:
            near = f"; {shortfall(*result.nearest)}" if result.nearest else ""
            notes.append(f"no trained candidate satisfies the constraints{near}")
        return replace(result, notes=tuple(notes))

    def _best_so_far(self) -> str:
        result = self._result()
        best = result.best
        if best is None:
            near = f"; {shortfall(*result.nearest)}" if result.nearest else ""
            return f"nothing feasible yet{near}"
        _, evaluation = best
        accuracy, latency = (evaluation.measures.value(m) for m in ("accuracy", "latency_ms"))
        estimated = " (estimated)" if result.estimated else ""
        text = f"best {evaluation.objective:.3f}: accuracy {accuracy:.3f}{estimated}"
        if latency is not None:
            text += f", {latency:.2f} ms"
        return f"{text} on {evaluation.candidate.device}"


def _refuse_full_disk(outcome: TrialOutcome, number: int) -> None:
    if outcome.error_kind == _NO_SPACE:
        raise OSError(errno.ENOSPC, f"trial {number}: {outcome.error}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
