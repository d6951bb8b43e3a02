"""Tag names and artifact paths that both the writing and the reading side use."""

from __future__ import annotations

FAMILY = "family"
GROUP = "group"
TASK = "task"
DATA = "data"
SEED = "seed"
SOLVER = "solver"
GRADIENT = "gradient"
MODEL_CLASS = "model_class"
CONFIG_DIGEST = "config_digest"
SUITE = "suite"
RUN_KEY = "run_key"

ERROR_TYPE = "error_type"
ERROR_MESSAGE = "error"

# Who runs it: lets a later process see that the writer is dead (tracking/process.py).
PROCESS_HOST = "process.host"
PROCESS_ID = "process.id"
PROCESS_START = "process.start"
PROCESS_BOOT = "process.boot"

PARENT_RUN = "mlflow.parentRunId"

CHECKPOINT_KEY = "integrand"
"""Key of a checkpoint under which `config`, `spec`, `run_id`, `family` and `rng` stand."""

RECORD = "record.json"
PROVENANCE = "provenance.json"
TRACEBACK = "error/traceback.txt"
CONFIG_DIR = "config"
CHECKPOINT_DIR = "checkpoints"
FIGURE_DIR = "figures"
