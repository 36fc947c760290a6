"""Hand-over between person and policy in hybrid mode, without a velocity jump.

Promises: on a change of driver the velocity passes on a straight line, over ``handover_s``, from what was last composed to what
the new driver asks for. With weight ``w`` growing by at most ``elapsed / handover_s`` a tick from 0 to 1 the output is
``(1 - w) * start + w * asked``; it never leaves the segment between the two, and changes between ticks by at most
``dw * |asked - start| + w * |change of asked|``. A person's explicit zero stops at once; when the person falls silent the policy
gets control back the gradual way.
"""

from __future__ import annotations

from dataclasses import dataclass

from vla_bt.words import ZERO, Twist


@dataclass(frozen=True)
class Handover:
    """Who drives and how far the hand-over is.

    Attributes
    ----------
    velocity : Twist
        The velocity last composed, in whatever mode.
    at_s : float
        When [s].
    person : bool or None
        True while the person drives, False while the policy does, None when neither has yet.
    start : Twist
        The velocity at which the hand-over began.
    weight : float
        Share of the driver's own velocity, 0..1; 1 when the hand-over is complete.
    """

    velocity: Twist = ZERO
    at_s: float = 0.0
    person: bool | None = None
    start: Twist = ZERO
    weight: float = 1.0


def hand_over(
    state: Handover, now_s: float, person: Twist | None, policy: Twist | None, handover_s: float
) -> tuple[Handover, Twist]:
    """Compose one tick's velocity.

    Parameters
    ----------
    state : Handover
        The previous tick's, or ``Handover(velocity=..., at_s=...)`` with what was last composed on entering the mode.
    now_s : float
        Time of this tick [s]; not before ``state.at_s``.
    person : Twist or None
        The person's velocity if fresh, else None.
    policy : Twist or None
        The policy's velocity; None counts as a wish to stand.
    handover_s : float
        Duration of a hand-over [s]; 0 switches at once.

    Returns
    -------
    Handover, Twist
        The new state and the velocity.
    """
    drives = person is not None
    asked = person if person is not None else (policy or ZERO)
    start, weight = state.start, state.weight
    if drives is not state.person:
        start, weight = state.velocity, 0.0
    elapsed_s = max(0.0, now_s - state.at_s)
    weight = 1.0 if elapsed_s >= handover_s * (1.0 - weight) else weight + elapsed_s / handover_s
    if drives and asked.is_zero():
        weight = 1.0
    if weight >= 1.0:
        velocity = asked
    else:
        velocity = Twist(*((1.0 - weight) * before + weight * after for before, after in zip(start, asked, strict=True)))
    return Handover(velocity, now_s, drives, start, weight), velocity
