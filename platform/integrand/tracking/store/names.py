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
CELL = "cell"
"""What a suite calls the runs that differ only by seed."""
SWEEP = "sweep"
TRIAL = "trial"
TRIAL_PARAM = "param."
"""Prefix of the sampled options of a sweep's trial."""

ERROR_TYPE = "error_type"
ERROR_MESSAGE = "error"

STATUS = "status"
"""`running`, `finished`, `over budget`, `pruned`, `killed` or `failed`: MLflow's own has no word for two."""
STOPPED_BY = "stopped_by"
"""`time`, `nfe` or `pruner`, where one of them ended a run before its last epoch."""
STOP_REASON = "stop_reason"
STOP_LIMIT = "stop_limit"
"""The budget that was used up, a number."""
RESUMED = "resumed"
"""How often the run was gone on with after an interruption."""
ENDINGS = (ERROR_TYPE, ERROR_MESSAGE, STOPPED_BY, STOP_REASON, STOP_LIMIT)
"""What says how a run ended, besides its status."""

ROLE = "role"
"""Of a run that is no experiment but a suite's parent or a report; experiments have none."""
ROLE_PARENT = "suite-parent"
"""Role of a run that trains nothing and only collects the seeds of one cell of a suite."""
ROLE_SAMPLING = "sampling"
"""Role of a child run that only samples from what its parent has trained."""
NOTE = "mlflow.note.content"
"""What MLflow's UI shows as the description of a run or an experiment, in Markdown."""

# Who runs it: lets a later process see that the writer is dead (tracking/process.py).
PROCESS_HOST = "process.host"
PROCESS_ID = "process.id"
PROCESS_START = "process.start"
PROCESS_BOOT = "process.boot"
PROCESS_BEAT = "process.beat"
"""Its last sign of life, in seconds since the epoch: processes of other hosts cannot be looked at."""
PROCESS_JOB = "process.job"
"""The job of SLURM or torchrun that it belongs to, empty outside of them."""

PARENT_RUN = "mlflow.parentRunId"

CHECKPOINT_KEY = "integrand"
"""Key of a checkpoint under which `config`, `spec`, `run_id`, `family` and `rng` stand."""

# What MLflow's UI shows first: groups of charts, and charts in a group, stand in alphabetical order.
QUALITY = "basics/quality"
NFE = "basics/nfe"
COST = "basics/cost_seconds"
TOTAL_NFE = "basics/total_nfe"
TOTAL_EPOCHS = "basics/total_epochs"

RECORD = "record.json"
PROVENANCE = "provenance.json"
TRACEBACK = "error/traceback.txt"
CONFIG_DIR = "config"
CHECKPOINT_DIR = "checkpoints"
FIGURE_DIR = "figures"
