"""Which side a sentence tells, for the judge: from what the file says, the blank it fills in, and the parser's reading.

Promises: nothing is guessed from single words; where these can't settle it, or disagree, the file has to say it.
"""

from __future__ import annotations

import re

from vla_bt.goals.parser import parse
from vla_bt.goals.plan import OTHER_SIDE, PlaceGoal, Plan

SAID = ("left", "right", "{side}", "{other}", "none")
"""What a file's ``side`` may say: the same for every run, the world's side, the other one, or none."""


class UnclearSideError(ValueError):
    """The told side can't be settled; the message is one line."""


def blanks(side: str, boxes: str) -> dict[str, str]:
    """Return what is filled in for a world with that side."""
    return {"side": side, "other": OTHER_SIDE[side], "boxes": boxes}


def told_side(template: str, told: dict[str, str], said: str = "") -> str:
    """Return the side that a sentence tells, empty for none.

    Parameters
    ----------
    template : str
        The sentence before its blanks are filled in.
    told : dict
        Of :func:`blanks`.
    said : str
        One of :data:`SAID` where the file settles it, else empty.

    Raises
    ------
    UnclearSideError
        When the sentence names a side and it can't be settled which one it tells.
    """
    if said:
        return "" if said == "none" else said.format(**told)
    sentence = template.format(**told)
    blank = told["side"] if "{side}" in template and "{other}" not in template else ""
    plan = parse(sentence)
    if not isinstance(plan, Plan):
        return blank  # the parser refuses it: no run can go wrong about the side
    places = [step for step in plan.steps if isinstance(step, PlaceGoal)]
    read = {step.side for step in places} - {""}
    if len(read) > 1:
        raise UnclearSideError(f"goal '{sentence}' tells both sides in turn; say which one counts: side: {' | '.join(SAID)}")
    if not read:
        if places and not blank and re.search(r"\b(left|right)", sentence.lower()):
            raise UnclearSideError(f"goal '{sentence}': which side it tells is not understood; say it: side: {' | '.join(SAID)}")
        return blank if places else ""
    side = read.pop()
    if blank and side != blank:
        raise UnclearSideError(
            f"goal '{sentence}' is filled in with {{side}} {blank} and read as passing on the {side}; say it: "
            f"side: {' | '.join(SAID)}"
        )
    return side
