"""tstorch-run: runs a model or an artifact on a GPU, measures it, and prints the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tstorch.diagnostics import UsageError
from tstorch.levels import Level
from tstorch.tools.common import add_compile_arguments, guarded, parse_dims, split_names

SIDE_BY_SIDE = ("check", "train", "capture", "output", "json", "trace", "chrome_trace", "annotate", "save_artifact")
"""What asks for a measured run, and a hunt is none."""
ANNOTATED = [level for level in Level if level is not Level.ARTIFACT]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `tstorch-run`. Returns the exit code; wrong usage exits with 2."""
    options = _parser().parse_args(argv)
    return guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    """Turns the arguments into what `examine` wants; it imports the heavy packages, so only now."""
    if options.embed_weights and not options.save_artifact:
        raise UsageError("--embed-weights says how to --save-artifact FILE; give that too")
    if options.train and options.check:
        raise UsageError("--check compares a run's outputs, and --train has none; leave one of them out")
    if options.capture and not options.output:
        raise UsageError("--capture says which tensors to save; say where with --output FILE.npz")
    if options.nan_hunt and (alone := [name for name in SIDE_BY_SIDE if getattr(options, name)]):
        raise UsageError(f"--nan-hunt is a run of its own; leave out --{alone[0].replace('_', '-')}")
    if options.labels and not options.train:
        raise UsageError("--labels are what --train LOSS compares with; give that too")
    if options.no_fuse and options.train:
        raise UsageError("--no-fuse compares runs of a model, and --train has none; leave one of them out")
    annotate, level = split_level(options.annotate)
    from tstorch.tools.microscope import Request, Training, examine

    training = Training(options.train, options.optimizer, options.lr, options.steps, options.labels)

    return examine(
        Request(
            model=options.model,
            dims=parse_dims(options.dim),
            target=options.target,
            adapter=options.adapter,
            rules=options.rules,
            without=split_names(options.without),
            no_fuse=split_names(options.no_fuse),
            demote_f64=options.demote_f64,
            plugins=not options.no_plugins,
            weights=options.weights,
            isolation=options.isolation,
            inputs=options.input,
            seed=options.seed,
            outputs=options.output,
            iterations=options.iterations,
            warmup=options.warmup,
            idle=options.idle,
            check=options.check,
            capture=split_names(options.capture),
            nan_hunt=options.nan_hunt,
            full=options.full,
            report=options.json,
            trace=options.trace,
            chrome_trace=options.chrome_trace,
            html=options.html,
            annotate=annotate,
            annotate_level=level,
            artifact=options.save_artifact,
            embed_weights=options.embed_weights,
            training=training if options.train else None,
        ),
        out=sys.stdout,
        err=sys.stderr,
    )


def split_level(text: str | None) -> tuple[str | None, Level]:
    """`F` or `F:LEVEL`; a suffix that is no level belongs to the file's name. Level flow where none is given."""
    if text is None:
        return None, Level.FLOW
    path, _, suffix = text.rpartition(":")
    return (path, Level(suffix)) if path and suffix in ANNOTATED else (text, Level.FLOW)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tstorch-run", description=__doc__)
    parser.add_argument("model", help="a model (.onnx) or an artifact")
    add_compile_arguments(parser)
    run = parser.add_argument_group("running")
    run.add_argument("--weights", metavar="FILE|DIR", help="where the model of an artifact without weights lies")
    run.add_argument("--adapter", metavar="NAME", help="the GPU to use, by part of its name, driver or backend")
    run.add_argument("--input", metavar="FILE.npz", help="inputs by name (default: drawn by seed, and legal)")
    run.add_argument("--seed", metavar="N", type=_count, default=0, help="seed of drawn inputs (default: 0)")
    run.add_argument("--output", metavar="FILE.npz", help="write the outputs by name")
    run.add_argument("--warmup", metavar="N", type=_count, default=2, help="runs before any is counted (default: 2)")
    run.add_argument("--iterations", metavar="N", type=_positive, help="runs of each kind (default: about 10 s in all)")
    run.add_argument(
        *("--idle",),
        metavar="SECONDS",
        type=_seconds,
        help="the pause before the single run that is measured by itself (0: none)",
    )
    run.add_argument(
        "--check", action="store_true", help="compare the outputs with references; find the first wrong node"
    )
    run.add_argument(
        *("--capture",),
        metavar="NAME[,NAME]",
        action="append",
        default=[],
        help="write inner tensors too, by their ONNX names, into --output's file",
    )
    run.add_argument(
        *("--no-fuse",),
        metavar="NODE[,NODE]",
        action="append",
        default=[],
        help="run also with these nodes' fusions taken apart, and compare with what they were estimated to save",
    )
    run.add_argument("--nan-hunt", action="store_true", help="find the first node that makes a NaN or an infinity")
    run.add_argument(
        *("--isolation",),
        choices=["process", "none"],
        default="process",
        help="where the GPU's work is done: in a process of its own (default), or in this one",
    )
    _add_training_arguments(parser.add_argument_group("training"))
    result = parser.add_argument_group("results")
    result.add_argument("--full", action="store_true", help="print all of the report, not its first 40 lines")
    result.add_argument("--json", metavar="FILE", help="write the report as one JSON object")
    result.add_argument("--trace", metavar="FILE", help="write what was recorded, one JSON object a line")
    result.add_argument("--html", metavar="FILE", help="write the report as a page with charts, one file")
    result.add_argument("--chrome-trace", metavar="FILE", help="write a timeline that Perfetto opens")
    result.add_argument(
        "--annotate", metavar="FILE[:LEVEL]", help="write the IR with what was measured (default level: flow)"
    )
    result.add_argument("--save-artifact", metavar="FILE", help="write what was compiled")
    result.add_argument("--embed-weights", action="store_true", help="put the weights into the saved artifact")
    return parser


def _add_training_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--train",
        metavar="LOSS",
        choices=["cross-entropy", "mse"],
        help="train: cross-entropy or mse; then measure a step",
    )
    group.add_argument("--optimizer", choices=["adam", "sgd"], default="adam", help="adam (default) or sgd")
    group.add_argument("--lr", metavar="X", type=float, default=1e-3, help="learning rate (default: 0.001)")
    group.add_argument("--steps", metavar="N", type=_positive, default=100, help="steps to train (default: 100)")
    group.add_argument(
        "--labels", metavar="FILE.npz", help="what the outputs should be; cut into batches and cycled, as --input is"
    )


def _count(text: str) -> int:
    """A number of runs."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number")
    return int(text)


def _seconds(text: str) -> float:
    """A pause."""
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds") from None
    if not 0 <= seconds <= 600:
        raise argparse.ArgumentTypeError("0 to 600 seconds")
    return seconds


def _positive(text: str) -> int:
    if (count := _count(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


if __name__ == "__main__":
    sys.exit(main())
