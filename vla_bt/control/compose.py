"""From the tick's proposals to its one request.

Promises: exactly one request for each tick. Zero at once (source ``SAFETY``) when no leaf proposed, more than one did, or a
proposal is not finite: none of these may happen, and none of them may move the robot. In mode hybrid a change of hands is
smoothed; the part of a velocity that leads into a blocked direction is taken away last.
"""

from __future__ import annotations

from collections.abc import Sequence

from vla_bt.control.causes import Verdict
from vla_bt.control.handover import Handover, hand_over
from vla_bt.control.obstacles import Blocked, limit, slowed
from vla_bt.port import Request
from vla_bt.proposal import Proposal
from vla_bt.settings import TreeSettings
from vla_bt.words import ZERO, Mode, Source, Twist

_SHARED = (Source.TAKEOVER, Source.POLICY, Source.MOTION)
"""The sources that pass control between each other in mode hybrid."""


class Composer:
    """Compose requests, one after each tick; remembers only the hand-over under way.

    Parameters
    ----------
    settings : TreeSettings
        Gives ``handover_s`` and ``request_valid_for_s``.
    """

    def __init__(self, settings: TreeSettings) -> None:
        self._settings = settings
        self._handover = Handover()

    def compose(
        self,
        proposals: Sequence[Proposal],
        mode: Mode,
        verdict: Verdict,
        around: Blocked,
        now_s: float,
        tick: int,
        stops: int = 0,
    ) -> tuple[Request, str]:
        """Compose this tick's request.

        Parameters
        ----------
        proposals : sequence of Proposal
            What the drive branch proposed in this tick: exactly one, or the robot stops.
        mode : Mode
            The mode of this tick.
        verdict : Verdict
            What the active causes add up to.
        around : Blocked
            The blocked directions.
        now_s : float
            Time of the tick [s].
        tick : int
            Its number.
        stops : int
            The gate's count of emergency stops as this tick knows it.

        Returns
        -------
        Request, str
            The request, and why in words.
        """
        if len(proposals) != 1:
            return self._stop(now_s, tick, f"{len(proposals)} proposals in one tick; exactly one may move the robot")
        proposal = proposals[0]
        if not proposal.twist.is_finite():
            return self._stop(now_s, tick, f"the proposal of {proposal.source.name.lower()} is not finite")
        twist, words = self._shared(proposal, mode, now_s), proposal.words
        if verdict.direction and proposal.source is not Source.SAFETY:
            twist, limited = limit(twist, around)
            words = f"{words}; {limited}" if limited else words
        if proposal.source is not Source.SAFETY:
            settings = self._settings
            room = (settings.robot_radius_m, settings.obstacle_distance_m)
            twist, limited = slowed(twist, around, *room, settings.braking_mps2, settings.braking_reaction_s)
            words = f"{words}; {limited}" if limited else words
        return self._request(twist, proposal, tick, stops), words

    def _shared(self, proposal: Proposal, mode: Mode, now_s: float) -> Twist:
        """Return the velocity after the hand-over, and remember it for the next one."""
        if mode is not Mode.HYBRID or proposal.source not in _SHARED:
            self._handover = Handover(velocity=proposal.twist, at_s=now_s)
            return proposal.twist
        person = proposal.twist if proposal.source is Source.TAKEOVER else None
        policy = proposal.twist if person is None else None
        self._handover, twist = hand_over(self._handover, now_s, person, policy, self._settings.handover_s)
        return twist

    def _stop(self, now_s: float, tick: int, words: str) -> tuple[Request, str]:
        self._handover = Handover(at_s=now_s)
        return self._request(ZERO, Proposal(ZERO, Source.SAFETY, words), tick), words

    def _request(self, twist: Twist, proposal: Proposal, tick: int, stops: int = 0) -> Request:
        valid_for_s = self._settings.request_valid_for_s
        return Request(twist, proposal.source, proposal.goal_id, proposal.frame_sequence, valid_for_s, tick, stops)
