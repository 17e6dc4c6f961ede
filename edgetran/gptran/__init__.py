"""GPTran: importance, grow and prune steps, the tree of models, and the loop over it."""

from edgetran.gptran.blocks import GPTranError, Importance, Removal
from edgetran.gptran.drawing import draw_tree
from edgetran.gptran.judge import Judge
from edgetran.gptran.loop import FamilyMember, GPTranResult, run_gptran
from edgetran.gptran.milestones import BudgetError
from edgetran.gptran.model_trainer import ModelTrainer, ValidationScore
from edgetran.gptran.plan import GPTranPlan, Targets
from edgetran.gptran.steps import GROW_STAGES, PRUNE_STAGES, STAGES, Step, StepSizes
from edgetran.gptran.task_trainer import TaskTrainer
from edgetran.gptran.tree import Node, Round, Tree, read_tree

__all__ = [
    "GROW_STAGES",
    "PRUNE_STAGES",
    "STAGES",
    "BudgetError",
    "FamilyMember",
    "GPTranError",
    "GPTranPlan",
    "GPTranResult",
    "Importance",
    "Judge",
    "ModelTrainer",
    "Node",
    "Removal",
    "Round",
    "Step",
    "StepSizes",
    "Targets",
    "TaskTrainer",
    "Tree",
    "ValidationScore",
    "draw_tree",
    "read_tree",
    "run_gptran",
]
