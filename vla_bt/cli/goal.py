"""``vla-bt goal``: tell the robot a goal in English and hear what becomes of it.

    vla-bt goal "go around the box on the left to the cup" --wait
    vla-bt goal stop
    vla-bt goal "go forward 1 m, then turn right" --check

Promises: exit code 0 only when the goal was accepted (with ``--wait``: reached). Ending this program, also with Ctrl-C, neither
stops nor moves the robot, and it says so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from vla_bt.cli.options import namespace
from vla_bt.goals.plan import Plan, describe, shown
from vla_bt.goals.watch import GoalWatch

EXAMPLES = """examples:
  vla-bt goal "go around the box on the left to the cup" --wait
  vla-bt goal "first move left 50 cm, then go forward 1 m" --wait --timeout 60
  vla-bt goal "go to the cup, then turn around" --check      show how it is read; no robot needed
  vla-bt goal stop                                           ends what is being done

A goal is pursued in mode vla or hybrid; in mode manual it waits.
"""
CONNECT_S = 5.0
LATCHED_S = 0.5  # how long the status line of an earlier goal may take to arrive
ANSWER_S = 5.0


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "goal",
        help="give the robot a goal",
        description="Tell the robot a goal in English: motions (forward, back, left, right, turns), places, sequences, stop.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="+", help="the goal in English")
    parser.add_argument("--wait", action="store_true", help="stay until the goal has ended; exit code 0 if reached")
    parser.add_argument("--timeout", type=float, default=180.0, metavar="S", help="stop waiting after S seconds (default 180)")
    parser.add_argument("--check", action="store_true", help="only show how the goal is read")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--namespace", type=namespace, default="", metavar="NAME", help="the robot's ROS namespace")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Tell the goal or check it; returns the exit code."""
    text = " ".join(options.text)
    return _check(text, options.json) if options.check else _tell(text, options)


def _check(text: str, as_json: bool) -> int:
    from vla_bt.goals.parser import parse

    outcome = parse(text)
    steps = outcome.steps if isinstance(outcome, Plan) else ()
    reason = "" if isinstance(outcome, Plan) else outcome.reason
    if as_json:
        rows = [{"kind": step.kind, "text": step.text, "note": step.note} for step in steps]
        print(json.dumps({"result": {"text": shown(text), "understood": bool(steps), "reason": reason, "steps": rows}}))
        return 0 if steps else 1
    for number, step in enumerate(steps, start=1):
        print(f"{number}. {describe(step)}")
    if reason:
        print(f"rejected: {reason}", file=sys.stderr)
    return 0 if steps else 1


def _tell(text: str, options: argparse.Namespace) -> int:
    from vla_bt.ros.environment import prepare

    prepare()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from vla_bt.ros.process import Ending

    ending = Ending()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    began = time.monotonic()
    watch = GoalWatch(text)
    try:
        problem = _converse(rclpy, text, options, watch, ending)
    except KeyboardInterrupt:
        print(f"\n{_goes_on(watch)}", file=sys.stderr)
        return 130
    finally:
        rclpy.try_shutdown()
    if options.json:
        result = {key: watch.event.get(key) for key in ("id", "state", "text", "step", "of", "reason", "evidence")}
        print(json.dumps({"result": result, "timing": {"seconds": round(time.monotonic() - began, 3)}}))
    if problem:
        return _problem(problem)
    good = watch.state.value == "reached" or (not options.wait and watch.state.open)
    return 0 if good else 1


def _converse(rclpy: Any, text: str, options: argparse.Namespace, watch: GoalWatch, ending: Any) -> str:
    """Publish the goal and follow it; returns what went wrong, in words."""
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from std_msgs.msg import String

    node = rclpy.create_node("vla_bt_goal", namespace=options.namespace)
    publisher = node.create_publisher(String, "goal", QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE))

    def heard(message: Any) -> None:
        words = watch.hear(message.data)
        if words and not options.json:
            print(words, flush=True)

    latched = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(String, "goal_status", heard, latched)

    def spin_until(done: Any, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.05)
            ending.raise_if_told()
        return bool(done())

    topic = node.resolve_topic_name("goal")
    if not spin_until(lambda: publisher.get_subscription_count() > 0, CONNECT_S):
        domain = os.environ.get("ROS_DOMAIN_ID", "0")
        return f"no robot listens on {topic} (ROS domain {domain}) after {CONNECT_S:g} s; is the tree running?"
    spin_until(lambda: False, LATCHED_S)
    watch.sending()
    publisher.publish(String(data=text))
    if not spin_until(lambda: watch.id > 0, ANSWER_S):
        return f"the goal was sent, but no answer came on {node.resolve_topic_name('goal_status')} within {ANSWER_S:g} s"
    if options.wait and not spin_until(lambda: watch.closed, options.timeout):
        return f"not reached after {options.timeout:g} s of waiting; {_goes_on(watch)}"
    if not options.wait:
        spin_until(lambda: False, 0.2)  # the first step follows at once where it may begin
    return ""


def _goes_on(watch: GoalWatch) -> str:
    if watch.state.open:
        return f"goal {watch.id} goes on; to stop the robot: vla-bt goal stop"
    return "whether the robot pursues this goal is not known; to stop the robot: vla-bt goal stop"


def _problem(text: str) -> int:
    print(f"vla-bt goal: {text}", file=sys.stderr)
    return 1
