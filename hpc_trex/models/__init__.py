"""The records of HPC-TREX: pydantic models with no logic beyond their own validity (DESIGN sections 2 and 7).

Everything that is stored, passed to a job or printed as JSON is one of these. ``json_schemas`` exports them for
editors and for the LLM Researcher.
"""

from __future__ import annotations

from typing import Any

from hpc_trex.models.base import OneLine, Record, canonical_json, digest
from hpc_trex.models.built import BuiltDownload, BuiltTable, BuiltTask
from hpc_trex.models.gate import GATES, GateName, GateView, PersonTime
from hpc_trex.models.job import (
    EvalSettings,
    Heartbeat,
    JobContainer,
    JobResult,
    JobSandbox,
    JobSpec,
    LossPoint,
    ModelRef,
    Score,
)
from hpc_trex.models.llm import LlmCall, LlmSettings, LlmUsage
from hpc_trex.models.origin import Download, Source, Table
from hpc_trex.models.plan import (
    MAX_TRIALS,
    DataRecipe,
    LoraSettings,
    RoundPlan,
    TrainConfig,
    TrialPlan,
    trial_identity,
)
from hpc_trex.models.profile import Container, Profile, Resources, Serving
from hpc_trex.models.review import ClaimFinding, VerdictView
from hpc_trex.models.search import (
    Budget,
    ControllerChain,
    ControllerRun,
    NoiseSettings,
    PolicySettings,
    ResearcherSettings,
    SearchConfig,
)
from hpc_trex.models.serve import ServedLlm, ServerAddress, ServerView, ServeSpec
from hpc_trex.models.shape import Shape
from hpc_trex.models.stage import Stage, reward_obstacle
from hpc_trex.models.staged import StagedFile, StagedItem, StagedKind
from hpc_trex.models.states import (
    FATES,
    LIVE,
    AttemptState,
    FailureClass,
    Fate,
    JobKind,
    NodeState,
    SearchState,
    TrialState,
)
from hpc_trex.models.task import CAPABILITIES, LmEvalTarget, MetricSpec, Prompt, Reference, TaskCard
from hpc_trex.models.views import (
    AttemptView,
    BestView,
    CostView,
    Insight,
    NodeView,
    Spent,
    SpentRow,
    StatusView,
    TrialView,
)

__all__ = [
    "CAPABILITIES",
    "FATES",
    "GATES",
    "LIVE",
    "MAX_TRIALS",
    "AttemptState",
    "AttemptView",
    "BestView",
    "Budget",
    "BuiltDownload",
    "BuiltTable",
    "BuiltTask",
    "ClaimFinding",
    "Container",
    "ControllerChain",
    "ControllerRun",
    "CostView",
    "DataRecipe",
    "Download",
    "EvalSettings",
    "FailureClass",
    "Fate",
    "GateName",
    "GateView",
    "Heartbeat",
    "Insight",
    "JobContainer",
    "JobKind",
    "JobResult",
    "JobSandbox",
    "JobSpec",
    "LlmCall",
    "LlmSettings",
    "LlmUsage",
    "LmEvalTarget",
    "LoraSettings",
    "LossPoint",
    "MetricSpec",
    "ModelRef",
    "NodeState",
    "NodeView",
    "NoiseSettings",
    "OneLine",
    "PersonTime",
    "PolicySettings",
    "Profile",
    "Prompt",
    "Record",
    "Reference",
    "ResearcherSettings",
    "Resources",
    "RoundPlan",
    "Score",
    "SearchConfig",
    "SearchState",
    "ServeSpec",
    "ServedLlm",
    "ServerAddress",
    "ServerView",
    "Serving",
    "Shape",
    "Source",
    "Spent",
    "SpentRow",
    "Stage",
    "StagedFile",
    "StagedItem",
    "StagedKind",
    "StatusView",
    "Table",
    "TaskCard",
    "TrainConfig",
    "TrialPlan",
    "TrialState",
    "TrialView",
    "VerdictView",
    "canonical_json",
    "digest",
    "json_schemas",
    "reward_obstacle",
    "trial_identity",
]


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each record that a person or an agent writes, by its name."""
    written = (RoundPlan, DataRecipe, TrainConfig, TaskCard, Profile, SearchConfig, JobSpec, JobResult)
    return {model.__name__: model.model_json_schema() for model in written}
