"""`integrand sample`: pictures and tensors from a trained generative model."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from ..errors import UsageError
from . import sampler_names
from .parser import Parser
from .sampling_plan import Loaded, add_source, labels, load, plan


def run(argv: list[str]) -> int:
    """Sample, write a grid of images and a tensor file, and record a child run of the training run.

    Args:
        argv: The arguments after `sample`.

    Returns:
        0 on success.

    Raises:
        UsageError: The model, sampler, budget or class does not exist or does not fit.
        NonFiniteSamplesError: Some samples are not finite; the files hold the others.
    """
    parser = Parser(prog="integrand sample", description=__doc__)
    add_source(parser)
    parser.add_argument(
        "--sampler",
        help="a short name, or such as 'DDIM(eta=0.5)'; default: the model's own",
    )
    parser.add_argument("--nfe", type=int, help="network evaluations per sample at most")
    parser.add_argument("--n", type=int, default=64, help="how many samples (default 64)")
    parser.add_argument("--out", type=Path, default=Path("samples"), metavar="DIR", help="default ./samples")
    parser.add_argument("--list", action="store_true", help="list the samplers and stop")
    if "--list" in argv:
        _list()
        return 0
    args = parser.parse_args(argv)
    if args.n < 1:
        raise UsageError(f"--n {args.n} asks for nothing", "ask for 1 or more")
    loaded = load(args)
    how = plan(loaded, args, args.sampler, args.nfe)
    y = labels(loaded, args, args.n)
    return _sample(args, loaded, how, y)


def _sample(args: Any, loaded: Loaded, how: Any, y: Any) -> int:
    from integrand.diffusion import NonFiniteSamplesError

    from .sampling_runs import SamplingRuns

    model = loaded.model
    shown = how.describe()
    params = {
        "sampler": shown,
        "nfe": args.nfe,
        "n": args.n,
        "seed": args.seed,
        "guidance": getattr(how, "guidance", None),
        "label": args.label,
        "grid": args.grid,
        "checkpoint": loaded.checkpoint.name,
        "data": loaded.model.spec.name,
    }
    records = SamplingRuns(loaded.run_id, args.tracking_uri)
    run_id = records.begin(f"sample {shown}", params)
    began = time.perf_counter()
    try:
        made = model.sample(args.n, args.seed, batch_size=args.batch_size, sampler=how, y=y, keep_failed=True)
    except BaseException as error:
        records.end(run_id, {}, {}, f"{type(error).__name__}: {error}")
        raise
    seconds = time.perf_counter() - began
    failed = made.failed.cpu()
    stem = args.out / f"{_slug(shown)}-nfe{made.nfe}-seed{args.seed}"
    picture, tensors = write(stem, made.x, failed, loaded, params | {"nfe": made.nfe}, y)
    bad = int(failed.sum())
    message = f"{bad} of {args.n} samples of {shown} are not finite" if bad else ""
    metrics = {
        "nfe": float(made.nfe),
        "n": float(args.n),
        "failed": float(bad),
        "seconds": seconds,
    }
    records.end(run_id, metrics, {picture.name: picture, tensors.name: tensors}, message)
    print(f"{args.n} samples by {shown}, NFE {made.nfe}, {seconds:.1f} s")
    print(f"  {picture}\n  {tensors}")
    if run_id:
        print(f"recorded as run {run_id[:8]}, a child of {loaded.run_id[:8]}")
    else:
        print("not recorded: the tracking store does not know the run that left this checkpoint")
    if bad:
        seen = "crossed out in" if made.x.ndim == 4 else "left out of"
        raise NonFiniteSamplesError(
            f"{message}; they are {seen} {picture} and marked `failed` in {tensors}",
            "take more evaluations, guide less, or clip with --clip 1",
        )
    return 0


def write(
    stem: Path, x: Any, failed: Any, loaded: Loaded, facts: dict[str, Any], y: Any
) -> tuple[Path, Path]:
    """The picture and the tensor file of samples.

    Args:
        stem: Path of both without suffix.
        x: Samples as the model makes them, shape (n, …).
        failed: Which are not finite, shape (n,).
        loaded: The model.
        facts: What else the tensor file says.
        y: Class of each, or None.

    Returns:
        The .png and the .pt file; `torch.load(file, weights_only=True)` reads the latter.
    """
    import torch

    stem.parent.mkdir(parents=True, exist_ok=True)
    # with_suffix would cut a number such as w=1.5 short
    picture, tensors = Path(f"{stem}.png"), Path(f"{stem}.pt")
    picture.write_bytes(picture_of(x, loaded))
    held = {"samples": x.float().cpu(), "failed": failed, "labels": y, **facts}
    torch.save({k: v for k, v in held.items() if v is not None}, tensors)
    return picture, tensors


def picture_of(x: Any, loaded: Loaded) -> bytes:
    """A PNG of samples: a sheet of the first 64 images, or a scatter plot of points over data."""
    from . import sampling_pictures

    if x.ndim == 2:
        return sampling_pictures.scatter(x[:, :2].float().cpu().numpy(), plane(loaded))
    return sampling_pictures.sheet(pixels(x[:64], loaded))


def plane(loaded: Loaded, n: int = 1000) -> Any:
    """Data points to draw behind samples, shape (n, 2); None where the data set can give none."""
    drawn = getattr(loaded.data, "reference", None)
    return None if drawn is None else drawn(n).numpy()


def pixels(x: Any, loaded: Loaded) -> Any:
    """Images in [0, 1] as a NumPy array; NaN where a sample is not finite."""
    import torch

    back = getattr(loaded.data, "denormalise", None)
    x = x.detach().float().cpu()
    shown = back(x) if back is not None else (x.clamp(-1, 1) + 1) / 2
    bad = ~torch.isfinite(x)
    return shown.masked_fill(bad, torch.nan).numpy()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9+.=-]+", "-", text.lower()).strip("-")


def _list() -> None:
    for title, table in (
        ("samplers of diffusion models", sampler_names.SAMPLERS),
        ("solvers of flows", sampler_names.FLOW_SOLVERS),
        ("time grids", sampler_names.GRIDS),
    ):
        print(f"{title}:")
        for name, text in table.items():
            print(f"  {name:<18} {text}")
