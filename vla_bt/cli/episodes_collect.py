"""``vla-bt episodes collect``: drive a plan's demonstrations in the simulator and record them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_bt.app.collect import Made

EXAMPLES = """examples:
  vla-bt episodes collect --plan document --policy expert --out runs/document
  vla-bt episodes check runs/document
  vla-bt episodes plan runs/document --picture plan.png
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "collect",
        help="drive a plan's demonstrations in the simulator",
        description="Drive what is missing of a collection plan in lockstep and record it at 1280x720 through the tree's "
        "recording leaves. Called again, it goes on where it was. A drive that touches something, passes on the wrong side or "
        "doesn't arrive is not kept: another scene of its kind is tried.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--plan", default="document", help="a shipped plan or a .yaml file (default %(default)s)")
    parser.add_argument("--policy", default="expert", help="who drives: expert, a preset or a folder (default %(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the episodes go (default: runs/ and the plan's name)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Collect; exit code 0 only if the plan is complete then."""
    from vla_bt.app.collect import CollectionError, check_plan, collect
    from vla_bt.episodes.dataset import headers
    from vla_bt.episodes.plan import count_progress, load_plan
    from vla_bt.episodes.schema import EpisodeError
    from vla_bt.settings import GateSettings, SettingsError, TreeSettings, load
    from vla_bt.sim.engine import SimulatorError

    plan = load_plan(options.plan)
    check_plan(plan, options.policy)
    folder = options.out or Path("runs") / plan.name
    began = time.monotonic()

    def shown(made: Made, there: int) -> None:
        words = f"no: {made.failure}" if made.failure else f"{len(made.episodes)} episode(s), goal after {made.goal_s:.1f} s"
        kind = f"{made.cell.scenario} {made.cell.pattern} {made.cell.distance} {made.cell.position}"
        print(
            f"{there:3d}/{plan.total}  {kind:38s} seed {made.seed}  {words}  ({made.wall_s:.1f} s)", file=sys.stderr, flush=True
        )

    try:
        made = collect(plan, options.policy, folder, load(TreeSettings, "tree"), load(GateSettings, "gate"), shown)
        progress = count_progress((path.name, attributes) for path, attributes in headers(folder))
    except (EpisodeError, CollectionError, SimulatorError) as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"{error.filename or folder}: {error.strerror}") from None
    except KeyboardInterrupt:
        print(
            f"\ninterrupted; the same command goes on: vla-bt episodes collect --plan {options.plan} "
            f"--policy {options.policy} --out {folder}",
            file=sys.stderr,
        )
        raise
    done = progress.done(plan)
    result = {
        "plan": plan.name,
        "policy": options.policy,
        "folder": str(folder),
        "wanted": plan.total,
        "there": done,
        "episodes": progress.episodes,
        "made": [one.to_dict() for one in made],
    }
    timing = {"wall_s": round(time.monotonic() - began, 1)}
    if options.json:
        print(json.dumps({"result": result, "timing": timing}, indent=2))
    else:
        failures = Counter(one.failure for one in made if one.failure)
        print(
            f"{done} of {plan.total} demonstrations in {folder} ({progress.episodes} episodes); "
            f"{len(made)} drives in {timing['wall_s']} s"
        )
        for failure, count in failures.items():
            print(f"not kept: {count} x {failure}")
    return 0 if done == plan.total else 1
