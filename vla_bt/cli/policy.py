"""``vla-bt policy``: look into weights, slim, convert and shrink them, measure them, talk to them.

    vla-bt policy inspect best.pth
    vla-bt policy convert best.pth my_policy --policy hybrid --kosmos kosmos-2-patch14-224 --clip clip-vit-base-patch32
    vla-bt policy bench my_policy --versus naive

Promises: nothing is unpickled or executed; what is written is there whole or not at all; exit code 0 of ``inspect`` means that it
can drive.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from vla_bt.cli import policy_bench, policy_shell
from vla_bt.cli.policy_options import (
    add_allow_missing,
    add_policy_options,
    add_threads_option,
    run_config,
    said_config,
    source_of,
    use_threads,
)
from vla_bt.settings import SettingsError

EXAMPLES = """examples:
  vla-bt policy inspect best.pth                               what it is, and what is missing for a run
  vla-bt policy inspect small-cnn
  vla-bt policy inspect best.pth --policy hybrid --kosmos DIR --clip DIR
  vla-bt policy slim best.pth slim.safetensors --kosmos DIR    without optimizer state and what DIR has
  vla-bt policy convert best.pth my_policy --policy hybrid --kosmos DIR --clip DIR --precision bf16
  vla-bt policy shrink my_policy --to bf16 --to int8+layers6
  vla-bt policy bench small --versus naive
  vla-bt policy shell small-cnn --source room.png

A policy is a preset (hybrid, small@tiny, hybrid@full), a policy's folder, or a weight file together with --policy.
"""


def add_parser(subparsers: Any) -> None:
    """Add the group."""
    group = subparsers.add_parser(
        "policy",
        help="look into weights, convert, shrink, measure and try policies",
        description="Look into policy weights, slim, convert and shrink them, measure them, talk to them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = group.add_subparsers(metavar="VERB", required=True)
    _add_inspect(verbs)
    _add_slim(verbs)
    _add_convert(verbs)
    _add_shrink(verbs)
    _add_export(verbs)
    policy_bench.add_parser(verbs)
    policy_shell.add_parser(verbs)


def _add_inspect(verbs: Any) -> None:
    parser = verbs.add_parser(
        "inspect",
        help="say what a weight file or folder is, and what is missing for a run",
        description="Say what a .pth, .safetensors or folder holds. Exit code 0 only if it can drive as it is described.",
    )
    parser.add_argument("path", type=Path, help="weight file, policy's folder, model folder, or a shipped policy's name")
    add_policy_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from vla_bt.policy.inspection import as_dict, as_text, inspect
    from vla_bt.policy.names import shipped

    path = options.path if options.path.exists() else shipped(str(options.path)) or options.path
    finding = inspect(path, said_config(options), options.shipped_tokenizers)
    print(json.dumps({"result": as_dict(finding)}, indent=2) if options.json else as_text(finding))
    return 0 if finding.can_run else 1


def _add_slim(verbs: Any) -> None:
    parser = verbs.add_parser(
        "slim",
        help="drop optimizer state and what a base model has",
        description="Write the weights alone; with --kosmos or --clip also without those equal to that model to the last bit, "
        "which is then needed for a run. Outputs stay the same bit for bit.",
    )
    parser.add_argument("path", type=Path, help="weight file or policy's folder")
    parser.add_argument("target", type=Path, help="file to write (.safetensors), or a folder if PATH is one")
    parser.add_argument("--kosmos", default="", metavar="DIR", help="the Kosmos-2 model the encoder may be equal to")
    parser.add_argument("--clip", default="", metavar="DIR", help="the CLIP model the encoder may be equal to")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_slim)


def _slim(options: argparse.Namespace) -> int:
    from vla_bt.policy.convert import slim

    said = {"kosmos": options.kosmos, "clip": options.clip}
    saving = slim(options.path, options.target, {name: source_of(text) for name, text in said.items() if text})
    _print_saving(options, saving)
    return 0


def _print_saving(options: argparse.Namespace, saving: Any) -> None:
    target = getattr(options, "target", None)
    if options.json:
        print(json.dumps({"result": {"path": str(target), **vars(saving)}}))
        return
    left = ", ".join(f"{count} weights left to {name}" for name, count in saving.left_out.items())
    print(
        f"{target}: {saving.after_bytes / 1e6:.1f} MB, before {saving.before_bytes / 1e6:.1f} MB"
        f" (optimizer state {saving.optimizer_bytes / 1e6:.1f} MB{', ' * bool(left)}{left})"
    )


def _add_convert(verbs: Any) -> None:
    parser = verbs.add_parser(
        "convert",
        help="turn a weight file into a policy's folder",
        description="Turn a weight file into a policy's folder: model.safetensors, config.json and tokenizers.",
    )
    parser.add_argument("path", type=Path, help="weight file")
    parser.add_argument("target", type=Path, help="folder to write")
    add_policy_options(parser)
    parser.add_argument(
        "--precision", default="", choices=("fp32", "bf16", "fp16"), help="type of the weights (default: as they are)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> int:
    from vla_bt.policy.convert import convert
    from vla_bt.policy.inspection import inspect
    from vla_bt.policy.shrinking import DTYPES

    config = said_config(options)
    if config is None:
        raise SettingsError(f"say what {options.path} is with --policy; 'vla-bt policy inspect {options.path}' names what fits")
    finding = inspect(options.path, config, options.shipped_tokenizers)
    if finding.missing:
        raise SettingsError(f"{options.path}: {'; '.join(finding.missing)}")
    _print_saving(options, convert(options.path, options.target, config, DTYPES.get(options.precision)))
    return 0


def _add_export(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="write a step for other runtimes, verified",
        description="Write a step as ONNX (picture, twist, text features and memory in; actions and memory out), verified "
        "against torch with onnxruntime before it is kept. TensorRT builds its engine from it on the robot. "
        "Needs pip install 'vla_bt[export]'.",
    )
    parser.add_argument("source", metavar="POLICY", help="preset, policy's folder, or weight file with --policy")
    parser.add_argument("target", type=Path, metavar="DIR", help="folder to write")
    parser.add_argument("--onnx", action="store_true", required=True, help="the format (the only one so far)")
    add_policy_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from vla_bt.policy.export import export_onnx
    from vla_bt.policy.factory import make_network_policy

    worst = export_onnx(make_network_policy(options.source, config=run_config(options)), options.target)
    if options.json:
        print(json.dumps({"result": {"path": str(options.target), "largest_difference": worst}}))
    else:
        print(f"{options.target}: verified, largest difference from torch {worst:.1e}")
    return 0


def _add_shrink(verbs: Any) -> None:
    parser = verbs.add_parser(
        "shrink",
        help="show what smaller weights, fewer layers or shorter texts cost and bring",
        description="Run the same frames through a policy and its shrunk selves: drift of the actions, latency, memory.",
    )
    parser.add_argument("target", metavar="POLICY", help="preset, policy's folder, or weight file with --policy")
    parser.add_argument(
        "--to", action="append", metavar="HOW", help="bf16, fp16, int8, layers6, text16, joined by + (repeatable)"
    )
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="frames to run (default 8)")
    parser.add_argument("--goal", default="go around the box on the left to the cup", help="goal to pursue")
    add_threads_option(parser)
    add_policy_options(parser)
    add_allow_missing(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_shrink)


def _shrink(options: argparse.Namespace) -> int:
    from vla_bt.policy.compare import Request, rows, table

    if options.frames < 1:
        raise SettingsError(f"--frames {options.frames}: at least 1 is needed")
    use_threads(options)
    ways = options.to or ["bf16", "int8", "layers6", "int8+layers6"]
    request = Request(options.target, run_config(options), options.goal, options.frames, options.allow_missing)
    found = rows(request, ways)
    if options.json:
        times = ("latency_ms", "processor_ms")
        results = [{key: value for key, value in row.items() if key not in times} for row in found]
        timing = {str(row["how"]): {key: row[key] for key in times} for row in found}
        print(
            json.dumps(
                {"result": {"policy": options.target, "frames": options.frames, "rows": results}, "timing": timing}, indent=2
            )
        )
    else:
        print(table(options.target, found))
    return 0
