"""`integrand sweep-samplers`: which sampler gives the best samples for a number of evaluations?"""

from __future__ import annotations

import csv
import io
import json
import math
import secrets
import time
from pathlib import Path
from typing import Any

from ..errors import IntegrandError, UsageError
from . import sampler_names
from .parser import Parser
from .sampling_plan import Loaded, add_source, labels, load, plan

DEFAULT = ("ddpm", "ddim", "heun", "dpm-solver++-2m", "unipc", "deis-tab", "euler-maruyama")
DEFAULT_FLOW = ("euler", "midpoint", "heun", "rk4", "dopri5")
FOLDER = "sampling"
"""Artifact folder of the training run."""


def run(argv: list[str]) -> int:
    """Score samples of one model by every sampler at every NFE.

    Args:
        argv: The arguments after `sweep-samplers`.

    Returns:
        0 where every cell was scored, 1 where samples were not finite.

    Raises:
        UsageError: The model or a sampler does not exist, or no cell is possible.
    """
    parser = Parser(prog="integrand sweep-samplers", description=__doc__)
    add_source(parser)
    parser.add_argument(
        "--samplers", nargs="+", metavar="NAME", help="short names, or such as 'DDIM(eta=0.5)'; or all"
    )
    parser.add_argument(
        "--nfe", nargs="+", type=int, default=[5, 10, 20, 50], help="budgets (default 5 10 20 50)"
    )
    parser.add_argument("--n", type=int, help="samples to score (default: what the evaluation says)")
    parser.add_argument(
        "--out", type=Path, default=Path("samples"), metavar="DIR", help="where files go (default ./samples)"
    )
    args = parser.parse_args(argv)
    if args.n is not None and args.n < 16:
        raise UsageError(f"--n {args.n} is too few to score", "ask for 16 or more")
    loaded = load(args)
    named = args.samplers or list(DEFAULT if loaded.diffusion else DEFAULT_FLOW)
    if named == ["all"]:
        named = list(sampler_names.SAMPLERS if loaded.diffusion else sampler_names.FLOW_SOLVERS)
    return Sweep(args, loaded, named, given=bool(args.samplers) and args.samplers != ["all"]).run()


class Sweep:
    """One sweep: its cells, its records, its pictures.

    Args:
        args: The options.
        loaded: The model.
        samplers: Names of the samplers.
        given: Whether the user named them: one that does not fit is then an error, else left out.
    """

    def __init__(self, args: Any, loaded: Loaded, samplers: list[str], given: bool) -> None:
        from .sampling_runs import SamplingRuns

        self.args, self.loaded = args, loaded
        self.samplers, self.nfes = list(dict.fromkeys(samplers)), sorted(set(args.nfe))
        self.records = SamplingRuns(loaded.run_id, args.tracking_uri)
        self.rows: list[dict[str, Any]] = []
        self.left_out: list[str] = []
        self.images: dict[tuple[str, int], Any] = {}
        self.floor: dict[str, float] = {}
        self.plans = self._plans(given)

    def run(self) -> int:
        """Sample and score every cell; what was done is kept, whatever happens after."""
        reference = self._reference()
        print(f"{len(self.plans)} cells, N = {len(reference)}, seed {self.args.seed}")
        for line in self.left_out:
            print(f"  left out: {line}")
        try:
            for (sampler, nfe), how in self.plans.items():
                self._cell(sampler, nfe, how, reference)
        finally:
            if self.rows:
                self._finish(len(reference))
        failed = sum(row["failed"] > 0 for row in self.rows)
        if failed:
            print(f"{failed} of {len(self.rows)} cells have samples that are not finite")
        return 1 if failed else 0

    def _plans(self, given: bool) -> dict[tuple[str, int], Any]:
        """What can be sampled; a budget below a sampler's minimum is left out and said."""
        from integrand.diffusion import BudgetError, IncompatibleError

        found: dict[tuple[str, int], Any] = {}
        for sampler in self.samplers:
            for nfe in self.nfes:
                try:
                    found[sampler, nfe] = plan(self.loaded, self.args, sampler, nfe)
                except BudgetError as error:
                    self.left_out.append(error.message)
                except IncompatibleError as error:
                    if given:
                        raise
                    self.left_out.append(error.message)
                    break
        if not found:
            budgets = ", ".join(map(str, self.nfes))
            raise BudgetError(f"nothing to sample at NFE {budgets}: {self.left_out[0]}", "give more --nfe")
        return found

    def _reference(self) -> Any:
        """The data that samples are compared with; also scores the floor.

        Raises:
            UsageError: The model's evaluation scores nothing.
        """
        import torch

        model, data = self.loaded.model, self.loaded.data
        evaluation = model.evaluation
        if evaluation is None and len(model.shape) == 3:
            from integrand.modules.generative.image_evaluation import ImageEvaluation

            evaluation = ImageEvaluation()
        if evaluation is None:
            raise UsageError("the model has no evaluation to score samples with", "set model.evaluation")
        if self.args.n is not None:
            evaluation.num_samples = self.args.n
        data.prepare_data()
        data.setup("test")
        batches = [b[0] if isinstance(b, list | tuple) else b for b in data.test_dataloader()]
        evaluation.prepare(data)
        reference, other = evaluation.split(torch.cat(batches).to(model.device))
        self.evaluation = evaluation
        self.floor = evaluation.compare(other, reference, True)
        return reference

    def _cell(self, sampler: str, nfe: int, how: Any, reference: Any) -> None:
        from .sample import picture_of, pixels

        args, model, n = self.args, self.loaded.model, len(reference)
        params = {
            "sampler": how.describe(),
            "sampler_name": sampler,
            "nfe": nfe,
            "n": n,
            "seed": args.seed,
            "guidance": getattr(how, "guidance", None),
            "grid": how.grid.describe() if getattr(how, "grid", None) is not None else None,
        }
        run_id = self.records.begin(f"{sampler} NFE {nfe}", params)
        began = time.perf_counter()
        row: dict[str, Any] = {"sampler": sampler, "described": how.describe(), "budget": nfe}
        y = labels(self.loaded, args, n)
        floors = {f"{name}_floor": value for name, value in self.floor.items()}
        try:
            made = model.sample(n, args.seed, batch_size=args.batch_size, sampler=how, y=y, keep_failed=True)
        except IntegrandError as error:
            # a solve that gave up: the other cells are still worth having
            row |= {"nfe": nfe, "seconds": time.perf_counter() - began, "failed": n, "error": error.message}
            self.records.end(run_id, {"failed": float(n)} | floors, {}, error.message)
        except BaseException as error:
            self.records.end(run_id, {}, {}, f"{type(error).__name__}: {error}")
            raise
        else:
            row |= {"nfe": made.nfe, "seconds": time.perf_counter() - began, "failed": int(made.failed.sum())}
            finite = made.x[~made.failed.to(made.x.device)]
            # a score of fewer samples than N would look better or worse for that alone
            if not row["failed"]:
                row |= self.evaluation.compare(finite, reference, True)
            message = f"{row['failed']} of {n} samples are not finite" if row["failed"] else ""
            metrics = {k: float(v) for k, v in row.items() if isinstance(v, int | float)}
            files = {"samples.png": picture_of(made.x, self.loaded)}
            self.records.end(run_id, metrics | floors, files, message)
            image = made.x.ndim == 4
            small = pixels(made.x[:9], self.loaded) if image else made.x[:1000, :2].float().cpu().numpy()
            self.images[sampler, nfe] = small
        self.rows.append(row | {"run_id": run_id})
        score = row.get(self._headline(), math.nan)
        note = f"  {row['failed']} not finite" if row["failed"] else ""
        scored = f"{self._headline()} {score:.4g}"
        print(f"  {sampler:<18} NFE {row['nfe']:>4}  {scored}  {row['seconds']:.1f} s{note}")

    def _headline(self) -> str:
        """The score that the curve shows: the first one."""
        return next(iter(self.floor))

    def _finish(self, n: int) -> None:
        """Table, curve and pictures, on the disk and as artifacts of the training run."""
        from . import sampling_pictures
        from .sample import plane

        headline = self._headline()
        curves: dict[str, list[tuple[int, float]]] = {}
        for row in self.rows:
            curves.setdefault(row["sampler"], []).append((row["nfe"], row.get(headline, math.nan)))
        table = {
            "headline": headline,
            "num_samples": n,
            "seed": self.args.seed,
            "guidance": self.args.guidance,
            "grid": self.args.grid,
            "checkpoint_run": self.loaded.run_id,
            "floor": self.floor,
            "rows": self.rows,
            "left_out": self.left_out,
        }
        files: dict[str, bytes | Path] = {
            "sweep.json": (json.dumps(table, indent=1) + "\n").encode(),
            "sweep.csv": _csv(self.rows).encode(),
            "quality_nfe.png": sampling_pictures.quality_curve(
                curves, headline, self.floor[headline], n, self.nfes
            ),
        }
        if self.images:
            done = [s for s in self.samplers if s in curves]
            files["side_by_side.png"] = sampling_pictures.side_by_side(
                self.images, done, self.nfes, plane(self.loaded)
            )
        name = f"sweep-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        folder = self.args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        print(f"{headline} of real against real: {self.floor[headline]:.4g}, N = {n}")
        print(f"  {folder}/: {', '.join(files)}")
        if self.records.parent is not None:
            self.records.store(self.records.parent.info.run_id, files, f"{FOLDER}/{name}")
            print(f"  recorded: {FOLDER}/{name} of run {self.loaded.run_id[:8]}, and its child runs")
        else:
            print("  not recorded: the tracking store does not know the run that left this checkpoint")


def _csv(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
