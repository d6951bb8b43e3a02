"""`integrand sample`: pictures and tensors from a trained generative model."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .parser import Parser
from .trained import Trained, add_pretrained, add_source, load


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
    if "--list" in argv:
        _list()
        return 0
    own, init_args = _sampler_options(argv)
    args = _parser().parse_args(own)
    if args.n < 1:
        raise UsageError(f"--n {args.n} asks for nothing", "ask for 1 or more")
    if init_args and args.sampler is None:
        raise UsageError("options of which sampler?", "name it with --sampler")
    from integrand.modules.generative.base import GenerativeModule

    from ..evaluations.sampling import Wishes, labels, named_sampler, way

    trained = load(args)
    model = trained.model
    if not isinstance(model, GenerativeModule):
        raise UsageError(
            f"{trained.checkpoint} holds {type(model).__name__}, which generates nothing",
            "samples come from the generative families: integrand families --group generative",
        )
    wishes = Wishes(args.seed, args.guidance, args.label, args.grid, args.clip, args.batch_size)
    sampler = None if args.sampler is None else named_sampler(model, args.sampler, init_args)
    how = way(model, wishes, sampler, args.nfe)
    if args.image is not None:
        how = _edited(args, trained, how)
    return _sample(args, trained, how, labels(model, args.label, args.n))


def _parser() -> Parser:
    parser = Parser(prog="integrand sample", description=__doc__)
    add_pretrained(parser, add_source(parser))
    parser.add_argument(
        "--sampler",
        help="a preset, a YAML file, or a class with --sampler.option value; default: the model's own",
    )
    parser.add_argument("--nfe", type=int, help="network evaluations per sample at most")
    parser.add_argument("--n", type=int, default=64, help="how many samples (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default 0)")
    parser.add_argument("--guidance", type=float, metavar="W", help="weight of classifier-free guidance")
    parser.add_argument(
        "--label", metavar="CLASS", help="class number or name, or none; default: every class in turn"
    )
    parser.add_argument("--grid", metavar="GRID", help="time grid, named like the sampler")
    parser.add_argument(
        "--clip", type=float, metavar="LIMIT", help="clamp the predicted data to ±LIMIT at every step"
    )
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="start from this image, noised as far as --strength says"
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=0.5,
        metavar="S",
        help="of --image: share of the steps (default 0.5)",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="samples at once")
    parser.add_argument("--out", type=Path, default=Path("samples"), metavar="DIR", help="default ./samples")
    parser.add_argument("--list", action="store_true", help="list the presets and stop")
    return parser


def _sampler_options(argv: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The other words, and what `--sampler.eta 0.5` sets."""
    import yaml

    own: list[str] = []
    found: dict[str, Any] = {}
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if option.startswith("--sampler."):
            text = value if equals else next(words, "")
            found[option.removeprefix("--sampler.").removeprefix("init_args.")] = yaml.safe_load(text)
        else:
            own.append(word)
    return own, found


def _edited(args: Any, trained: Trained, how: Any) -> Any:
    """The same way of sampling, begun at `--image`.

    Raises:
        UsageError: It is no image of the model's size, or the sampler knows no noise levels to start at.
    """
    from integrand.modules.generative.sampling import Editing, Sampling

    from ..evaluations.sampling import read_image

    model = trained.model
    if not isinstance(how, Sampling):
        raise UsageError(
            f"--image starts samplers of diffusion, and this is {type(model).__name__} by {how.describe()}",
            "name one with --sampler, such as ddim",
        )
    image = read_image(args.image, model.spec.input_shape, trained.data).to(model.device)
    return Editing(how, model.encoded(image[None])[0], args.strength)


def _sample(args: Any, trained: Trained, how: Any, y: Any) -> int:
    from integrand.diffusion import NonFiniteSamplesError

    from ..tracking.store import names
    from ..tracking.store.child_runs import ChildRuns

    model = trained.model
    shown = how.describe()
    params = {
        "sampler": shown,
        "nfe": args.nfe,
        "n": args.n,
        "seed": args.seed,
        "guidance": getattr(how, "guidance", None),
        "label": args.label,
        "grid": args.grid,
        "image": None if args.image is None else args.image.name,
        "checkpoint": trained.checkpoint.name,
        "data": model.spec.name,
    }
    records = ChildRuns(trained.run_id, names.ROLE_SAMPLING, args.tracking_uri)
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
    picture, tensors = _write(stem, made.x, failed, trained, params | {"nfe": made.nfe}, y)
    bad = int(failed.sum())
    message = f"{bad} of {args.n} samples of {shown} are not finite" if bad else ""
    metrics = {"nfe": float(made.nfe), "n": float(args.n), "failed": float(bad), "seconds": seconds}
    files = {f"samples/{path.name}": path for path in (picture, tensors)}
    records.end(run_id, metrics, files, message)
    print(f"{args.n} samples by {shown}, NFE {made.nfe}, {seconds:.1f} s")
    print(f"  {picture}\n  {tensors}")
    if run_id:
        print(f"recorded as run {run_id[:8]}, a child of {trained.run_id[:8]}")
    else:
        print(f"not recorded: {trained.unrecorded}")
    if bad:
        seen = "crossed out in" if made.x.ndim == 4 else "left out of"
        raise NonFiniteSamplesError(
            f"{message}; they are {seen} {picture} and marked `failed` in {tensors}",
            "take more evaluations, guide less, or clip with --clip 1",
        )
    return 0


def _write(
    stem: Path, x: Any, failed: Any, trained: Trained, facts: dict[str, Any], y: Any
) -> tuple[Path, Path]:
    """The picture and the tensor file; `torch.load(file, weights_only=True)` reads the latter."""
    import torch

    from ..evaluations.sampling import picture

    stem.parent.mkdir(parents=True, exist_ok=True)
    # with_suffix would cut a number such as w=1.5 short
    image, tensors = Path(f"{stem}.png"), Path(f"{stem}.pt")
    image.write_bytes(picture(x, trained.data).png)
    held = {"samples": x.float().cpu(), "failed": failed, "labels": y, **facts}
    torch.save({k: v for k, v in held.items() if v is not None}, tensors)
    return image, tensors


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9+.=-]+", "-", text.lower()).strip("-")


def _list() -> None:
    from ..evaluations.named import presets

    for title, kind in (("samplers of diffusion models", "sampler"), ("time grids", "grid")):
        print(f"{title}:")
        for name, path in presets(kind).items():
            print(f"  {name:<18} {' '.join(path.read_text(encoding='utf-8').split())}")
    print("flows are sampled by any ODE solver: Euler, Heun, RK4, Dopri5, …")
