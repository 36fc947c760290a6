"""``vla-bt policy bench``: how long a step takes, where, and how far from this machine's own bound.

    vla-bt policy bench small --versus naive
    vla-bt policy bench my_policy@int8 --repeats 20 --json

Promises: exit code 0 only if the measurement is possible (no median below the bound), every action was a number, and every limit
that was set is kept.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from vla_bt.cli.policy_options import add_allow_missing, add_policy_options, add_threads_option, run_config, use_threads
from vla_bt.settings import SettingsError

if TYPE_CHECKING:
    from vla_bt.policy.runtime import NetworkPolicy


def add_parser(verbs: Any) -> None:
    """Add the verb to the group ``policy``."""
    parser = verbs.add_parser(
        "bench",
        help="measure a step, its parts, and the distance from this machine's bound",
        description="Measure a step, its parts, and the distance from what this machine's memory and arithmetic allow.",
    )
    parser.add_argument(
        "target", metavar="POLICY", nargs="?", default="", help="preset, policy's folder, or weight file with --policy"
    )
    parser.add_argument("--preset", default="", metavar="NAME", help="the same as POLICY")
    parser.add_argument("--versus", choices=("naive",), help="compare with the document's own forward, rung by rung")
    parser.add_argument("--in", dest="precisions", default="bf16,int8", metavar="LIST", help="further rungs (default bf16,int8)")
    parser.add_argument("--repeats", type=int, default=50, metavar="N", help="timed steps (default 50)")
    parser.add_argument("--warm-up", type=int, default=5, metavar="N", help="steps before, not counted (default 5)")
    parser.add_argument("--goal", default="go around the box on the left to the cup", help="goal to pursue")
    add_threads_option(parser)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default cpu)")
    parser.add_argument("--p99-ms", type=float, default=0.0, metavar="MS", help="fail if a step's p99 is above this")
    add_policy_options(parser)
    add_allow_missing(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure; returns the exit code."""
    from vla_bt.bench.figures import LoadMeter, load_words
    from vla_bt.policy.bench import as_dict, as_text, bench, percentiles, versus_naive
    from vla_bt.policy.factory import make_network_policy

    target = options.target or options.preset
    if not target or (options.target and options.preset):
        raise SettingsError("say which policy: vla-bt policy bench small")
    if options.p99_ms < 0.0:
        raise SettingsError(f"--p99-ms {options.p99_ms:g}: a positive number is needed")
    if options.repeats < 1 or options.warm_up < 0:
        raise SettingsError(f"--repeats {options.repeats} --warm-up {options.warm_up}: at least 1 and 0 are needed")
    use_threads(options)
    config = run_config(options)

    def make(how: str) -> NetworkPolicy:
        return make_network_policy(target, how=how, config=config, allow_missing=options.allow_missing).to(options.device)

    policy = make("")
    meter = LoadMeter()
    result = bench(policy, options.goal, options.repeats, options.warm_up)
    del policy
    if options.versus:
        precisions = tuple(filter(None, options.precisions.split(",")))
        result.rungs = versus_naive(make, options.goal, options.repeats, precisions)
    load = meter.stop()
    if options.json:
        about = as_dict(result)
        about["timing"]["load"] = load
        print(json.dumps(about, indent=2))
    else:
        print(f"{as_text(result)}\n{load_words(load)} meanwhile, this included")
    kept = not options.p99_ms or percentiles(result.steps)["p99"] <= options.p99_ms
    return 0 if result.possible and result.finite and kept else 1
