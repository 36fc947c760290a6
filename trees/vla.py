"""The robot pursues its goal, sub-goal by sub-goal: measured motions by odometry, places by the policy."""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.composites import Selector, Sequence

from vla_bt.behaviours.driving import ModeIs
from vla_bt.behaviours.goals import CarryOutMotion, GoalActive, StandStill, SubgoalIs, SubgoalReached
from vla_bt.behaviours.policy import FollowPolicy
from vla_bt.goals.plan import MotionGoal, StopGoal
from vla_bt.words import Mode


def create_vla_subtree() -> Behaviour:
    """Create the branch that acts in modes vla and hybrid while a goal is active."""
    motion = Sequence("Motion", memory=False)
    motion.add_children([SubgoalIs("Motion sub-goal?", MotionGoal), CarryOutMotion("Carry out motion")])
    stop = Sequence("Stop", memory=False)
    stop.add_children([SubgoalIs("Stop sub-goal?", StopGoal), StandStill("Stand still")])
    pursue = Selector("Pursue", memory=False)
    pursue.add_children([motion, stop, FollowPolicy("Follow policy")])
    root = Sequence("VLA", memory=False)
    root.add_children(
        [
            ModeIs("Mode vla or hybrid?", Mode.VLA, Mode.HYBRID),
            GoalActive("Goal active?"),
            pursue,
            SubgoalReached("Sub-goal reached?"),
        ]
    )
    return root
