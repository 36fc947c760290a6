"""``vla-bt episodes replay``: a recorded run through the same tree once more."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes replay runs/episode_20261122_120000_1box_vert_left.h5
  vla-bt episodes replay FILE --policy expert            would it still decide so?
  vla-bt episodes replay FILE --policy runs/train/small-cnn/best --json
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "replay",
        help="send a recorded run through the tree once more and compare its decisions",
        description="Send a recorded demonstration (all episodes linked with FILE, in its folder) through the same tree and "
        "compare each decision, velocity and source, with the recorded one. Exit code 0 when all are identical, 1 when some "
        "differ, or a file was changed after it was recorded. By default a policy's velocities are fed from the record: then "
        "the tree is tested and not the policy. A record holds no scan, battery or contacts, and of what happened between two "
        "frames nothing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="an episode")
    parser.add_argument(
        "--policy",
        default="recorded",
        help="recorded (the record's own answers: tests the tree), expert (simulated episodes), a preset or a folder "
        "(default %(default)s)",
    )
    parser.add_argument("--all", action="store_true", help="show identical decisions, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object: 'result' is reproducible, 'timing' is not")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Replay; exit code 0 only if every decision is identical and no file was changed since it was recorded."""
    from vla_bt.app.replay import RECORDED, replay
    from vla_bt.episodes.format import load
    from vla_bt.episodes.moments import linked_episodes
    from vla_bt.episodes.schema import EpisodeError
    from vla_bt.policy.names import check_name
    from vla_bt.settings import SettingsError, TreeSettings
    from vla_bt.settings import load as load_settings

    if options.policy != RECORDED:
        check_name(options.policy)
    try:
        paths = linked_episodes(options.file)
        outcome, decisions = replay([load(path) for path in paths], options.policy, load_settings(TreeSettings, "tree"))
    except EpisodeError as error:
        raise SettingsError(str(error)) from None
    result = outcome["result"]
    result["files"] = [str(path) for path in paths]
    result["changed"] = [str(paths[number]) for number in result["changed"]]
    if options.json:
        print(json.dumps(outcome, indent=2))
    else:
        print("\n".join(_words(result, decisions, options.all)))
    return 0 if result["identical"] == result["decisions"] and not result["changed"] else 1


def _words(result: dict[str, Any], decisions: list[Any], everything: bool) -> list[str]:
    from vla_bt.episodes.printable import printable

    lines = []
    start_s = decisions[0].moment.decided_s
    for one in decisions:
        if one.is_same and not everything:
            continue
        then, now = one.moment, one.request
        velocity = _velocity(then.commanded) if then.commanded is not None else f"{'not told':>20s}"
        mark = "  same" if one.is_same else f"  differs by {one.difference:.4f}" if one.difference > 0 else "  differs"
        lines.append(
            f"{then.episode:2d} {then.frame:2d} {then.decided_s - start_s:7.2f} s  "
            f"{then.source.name.lower():8s}{velocity}  ->  {now.source.name.lower():8s}{_velocity(now.twist)}{mark}"
            f"  ({one.words})"
        )
    if lines:
        lines = ["episode, frame, time, recorded -> replayed: source, velocity [m/s, m/s, rad/s]", *lines, ""]
    lines.append(f"{result['identical']} of {result['decisions']} decisions identical, policy {result['policy']}")
    if result["fed_from_record"]:
        name = result["recompute_with"]
        how = f"'--policy {name}' recomputes them" if name else "the policy behind them is not here"
        how += "" if name in ("", "expert") else ", alike where every picture it saw was recorded"
        lines.append(
            f"{result['fed_from_record']} of them are the policy's velocities as the record tells them, fed to the tree and not "
            f"recomputed: {how}"
        )
    lines += [
        f"{printable(path)}: was changed after it was recorded: its columns differ from its checksum (content_crc32)"
        for path in result["changed"]
    ]
    if result["velocity_not_told"]:
        lines.append(f"of {result['velocity_not_told']} the record doesn't tell the velocity; their source was compared")
    if result["identical"] < result["decisions"]:
        lines.append(
            f"velocities differ by {result['largest_difference']:.4f} at most, by {result['mean_difference']:.4f} on average"
        )
    return lines


def _velocity(twist: Any) -> str:
    return "".join(f" {value:+6.3f}" for value in twist)
