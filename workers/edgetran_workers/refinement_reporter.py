"""What growing and pruning tells of itself: models by state, the best one, the Pareto front."""

from __future__ import annotations

from typing import Any, Final

from edgetran.api import CandidateSummary, GPTranRunStatus, Reason
from edgetran.gptran import GPTranPlan, Judge, Node
from edgetran_workers.candidates import ReportedFront, candidate, finalist
from edgetran_workers.search_reporter import figures_of, sentence_of

_STAGE: Final = "grow and prune"
_ROOT: Final = "root"


class RefinementReporter:
    """Learns from `gptran/tree.jsonl` and, at the end, `result.json`.

    Args:
        plan: what decides which model is the best.

    Attributes:
        device: name of the device that the models are for; set it once it is known.
    """

    def __init__(self, plan: GPTranPlan) -> None:
        self.device = ""
        self._plan = plan
        self._nodes: dict[str, Node] = {}
        self._numbers: dict[str, int] = {}
        self._round: dict[str, Any] = {}
        self._progress = (0, len(plan.rounds()) * plan.samples_per_stage)
        self._best: Node | None = None
        self._winner: CandidateSummary | None = None
        self._front = ReportedFront()
        self._seconds = 0.0
        self._outcome = ""
        self._patience_ended = False

    def take(self, log: str, record: dict[str, Any]) -> None:
        """Learn from a model, a round, the progress or the result."""
        if log == "gptran/tree.jsonl" and record["type"] == "node":
            self._take_node(Node.from_dict(record))
        elif log == "gptran/tree.jsonl" and record["type"] == "round":
            self._round = record
        elif log == "log.jsonl" and record.get("stage") == _STAGE:
            self._progress = record["done"], record["total"]
        elif log == "log.jsonl" and str(record.get("message", "")).startswith("GPTran stops"):
            self._patience_ended = True
        elif log == "result.json" and record.get("winner") is not None:
            self._winner = finalist(record["winner"], self._shown(self._best))
            self._outcome = str(record["gptran"]["reason"])

    def _take_node(self, node: Node) -> None:
        self._numbers.setdefault(node.id, len(self._numbers))
        self._nodes[node.id] = node
        self._seconds += node.seconds or 0.0
        if node.state != "trained" or self._judge is None:
            return
        self._best = self._judge.best_of(self._nodes.values())
        shown = self._shown(node)
        if shown is not None and node.within_budgets:
            self._front.add(shown, node.measures)

    @property
    def _judge(self) -> Judge | None:
        root = self._nodes.get(_ROOT)
        return None if root is None else Judge(self._plan, root)

    def _shown(self, node: Node | None) -> CandidateSummary | None:
        if node is None or self._judge is None:
            return None
        return candidate(
            self._numbers[node.id],
            node.graph_hash,
            self.device,
            node.measures,
            objective=self._judge.score(node),
        )

    def status(self) -> GPTranRunStatus:
        """Where in the cycles it is, models by state, the root, the best, the front."""
        states = [node.state for node in self._nodes.values()]
        return GPTranRunStatus(
            cycle=self._round.get("cycle", 0),
            stage=self._round.get("stage"),
            nodes=len(states),
            trained=states.count("trained"),
            failed=states.count("failed"),
            root=self._shown(self._nodes.get(_ROOT)),
            best=self._winner or self._shown(self._best),
            pareto_front=self._front.shown(),
        )

    def progress(self) -> tuple[int, int]:
        """Children that were tried, of those that there may be."""
        return self._progress

    def measures(self) -> dict[str, float]:
        """The best model's figures, time spent training."""
        best = self._winner or self._shown(self._best)
        return {"training_seconds": self._seconds} | figures_of(best)

    def ending(self) -> tuple[Reason, str]:
        """Why it ended, and what won."""
        reason = Reason.NO_FURTHER_GAIN if self._patience_ended else Reason.CYCLES_COMPLETE
        words = [self._outcome]
        if self._winner is not None:
            words.append(sentence_of(self._winner, "model"))
        return reason, "; ".join(word for word in words if word)
