"""English goals to plans: motions that are measured, places that are the policy's, and stop.

Promises: any input at all yields a :class:`Plan` or a :class:`Rejection` with a reason, never an exception, in time linear in
the first 500 characters. "stop" always works, and a sentence that forbids a movement is read as stop. Nothing is guessed that
could move the robot further than was told; what is filled in (a default distance) is said in the sub-goal's note.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from vla_bt.goals import vocabulary as v
from vla_bt.goals.motion_words import known_places, read_motion
from vla_bt.goals.phrases import folded
from vla_bt.goals.place_words import NO_ARM, Place, read_place
from vla_bt.goals.plan import Motion, MotionGoal, PlaceGoal, Plan, Rejection, StopGoal, SubGoal, shown
from vla_bt.goals.reading import MAX_CHARACTERS, NotUnderstoodError, RefusedError, Token, clean, lenient, tokens_of
from vla_bt.goals.strange import is_strange

MAX_STEPS = 10
EXAMPLES = "'go to the cup' or 'go forward 1 m, then turn right'"
_TAIL = v.STRONG | v.WEAK | frozenset(("please", "now", "thanks", "thank", "you", "robot", "ok", "okay"))
_STOPPING = v.STOP | v.STOP_SOFT
_VERBS = v.MOVE | v.ROAM | v.TURN | v.REACH | v.ARRIVE | v.ARM | v.STOP | v.TAKE | frozenset(("wait",))
_ALL_VERBS = _VERBS | v.MOVE_ING | v.TURN_ING | v.REACH_ING | v.PASS | v.PASS_ING
_GOES = _ALL_VERBS | v.ROAM | v.GONE | frozenset(("past", "around", "round", "beyond"))
_DELAYS = frozenset(("stopping", "halting", "pausing", "waiting", "delay", "hesitation"))
_KEEPING = frozenset(("keep", "keeping", "stay", "staying"))
_MODALS = frozenset(("should", "must", "shall", "can", "could", "may", "might", "will", "would"))
_OTHERS = v.DETERMINERS | frozenset(("i", "it", "he", "she", "they", "this", "that"))
_BACK = v.words_in("to at it there up over near by towards toward in front of and stop slowly then")
_THERE = frozenset(("at", "by", "near", "there", "get", "come")) | v.REACH


def parse(text: str | bytes) -> Plan | Rejection:
    """Read a goal.

    Parameters
    ----------
    text : str or bytes
        What a person typed or said; bytes must be UTF-8.

    Returns
    -------
    Plan or Rejection
    """
    original = text[: 4 * MAX_CHARACTERS].decode("utf-8", "replace") if isinstance(text, bytes) else text
    heard = lenient(text).split()
    meant = [word for word in heard if word not in v.POLITE]
    try:
        if _is_stop(heard) and len(text) <= MAX_CHARACTERS:
            return _stop(original)
        normal = clean(text)
        tokens = tokens_of(normal)
        note = _forbids([token.word for token in tokens])
        return _stop(original, note) if note else Plan(original, _steps(normal, folded(tokens)))
    except RefusedError as error:
        # Who calls "stop" first, or calls it or forbids something among words nobody understands, wants the robot to stand.
        first = bool(meant) and meant[0] in v.STOP
        called = any(word in v.STOP or word in v.NEGATIONS or word == "don" for word in heard)
        if first or (isinstance(error, NotUnderstoodError) and called):
            return _stop(shown(original), "the rest of the sentence is not followed")
        return Rejection(shown(original), str(error))


def _stop(original: str, note: str = "") -> Plan:
    return Plan(original, (StopGoal(note),))


def _is_stop(words: list[str]) -> bool:
    """Nothing is said but to stop."""
    return any(word in _STOPPING for word in words) and all(word in _STOPPING or word in v.STOP_FILL for word in words)


def _forbids(words: list[str]) -> str:
    """Return why the sentence is read as stop: it forbids a movement. Empty when it does not.

    "without touching the box" and "not too fast" only say how; "don't stop" asks for nothing that could be done.
    """
    for at, word in enumerate(words):
        if word not in v.NEGATIONS and not (word == "no" and at == 0):
            continue
        follows = words[at + 1 : at + 4]
        if words[max(0, at - 1) : at] == ["why"] or any(after in v.HARM for after in follows) or follows[:1] == ["too"]:
            continue
        if word == "without" and follows and follows[0] in _DELAYS:
            continue
        if any(after in v.STOP for after in follows):
            raise RefusedError("asks not to stop; tell the goal itself instead")
        if any(other in v.KNOWN for other in words):
            return f"'{word}' forbids something: read as stop; say only what is to be done"
    return ""


class _Part(NamedTuple):
    """Tokens of one clause and what ties it to the one before: "then", ";", one of ``SUBORDINATE``, or empty."""

    tokens: list[Token]
    link: str


class _Clause(NamedTuple):
    tokens: list[Token]
    step: SubGoal
    place: Place | None
    link: str


def _steps(text: str, tokens: list[Token]) -> tuple[SubGoal, ...]:
    """Read the clauses in order."""
    if not any(token.word in v.KNOWN for token in tokens):
        raise NotUnderstoodError(f"no word in it is known here; goals are plain English, such as {EXAMPLES}")
    if tokens[0].word in _MODALS and tokens[1:2] and tokens[1].word in _OTHERS:
        raise NotUnderstoodError(f"a question; say what to do, for example {EXAMPLES}")
    read: list[_Clause] = []
    for clause, link in _clauses(tokens):
        words = _words_of(clause, link)
        if _is_stop(words) or words == ["arrive"]:  # "come to a halt"
            read.append(_Clause(clause, StopGoal(), None, link))
        elif _refers_back(words, read):
            note = NO_ARM if words[0] in v.ARM else read[-1].step.note
            read[-1] = read[-1]._replace(step=replace(read[-1].step, note=note))
        else:
            read.append(_read_clause(text, _Part(clause, link), words, read))
        if len(read) > MAX_STEPS:
            raise RefusedError(f"more than {MAX_STEPS} steps; tell them in parts")
    if not read:
        raise NotUnderstoodError(f"nothing to do is told; say for example {EXAMPLES}")
    joined = _joined(text, read)
    places = [part.place for part in joined if part.step.kind != "stop"]
    arrives = len(places) == 1 and places[0] is not None and not places[0].via_only and joined[0].place is not None
    subordinate = next((part.link for part in read if part.link in v.SUBORDINATE), "")
    if subordinate and not arrives:
        raise _condition(subordinate)
    lost = next((place.lost for place in places if place is not None and place.via_only and place.lost), "")
    if lost:
        raise NotUnderstoodError(lost)
    return tuple(part.step for part in joined)


def _words_of(clause: list[Token], link: str) -> list[str]:
    """Return the words to read: of "once you have passed the box" those from "passed" on."""
    words = [token.word for token in clause]
    start = 0
    while link in v.SUBORDINATE and start + 1 < len(words) and (words[start] == link or words[start] in v.PERSONS):
        start += 1
    return words[start:]


def _condition(word: str) -> NotUnderstoodError:
    return NotUnderstoodError(f"'{word}' is not understood; say the steps in order with 'then'")


def _read_clause(text: str, part: _Part, words: list[str], before: list[_Clause]) -> _Clause:
    clause, link = part
    if words[0] in v.QUESTIONS or (words[0] in v.GONE and link not in v.SUBORDINATE):
        raise NotUnderstoodError(f"a question or a statement; say what to do, for example {EXAMPLES}")
    condition = next((word for word in words if word in v.CONDITIONS), "")
    if condition:
        raise _condition(condition)
    last = before[-1].place if before else None
    if last is not None and any(word in v.VIA for word in words):
        words = [last.name if word in ("it", "them") else word for word in words]  # "... the box, go left around it"
    if any(word in v.PLACES for word in words):
        passing = last is not None and last.via_only
        place = read_place(words, follows=bool(before), passing=passing)
        if link in v.SUBORDINATE and not _in_order(link, words, place):
            raise _condition(link)
        return _Clause(clause, _place_step(text, clause, place), place, link)
    thing = next((word for word in words if is_strange(word)), "")
    if thing and any(word in v.ROAM or word in v.TO for word in words):
        raise NotUnderstoodError(f"'{shown(thing, 20)}' is neither a known place nor part of a motion; {known_places()}")
    motion = before[-1].step if before else None
    return _Clause(clause, read_motion(words, isinstance(motion, MotionGoal) and motion.motion.is_turn), None, link)


def _in_order(link: str, words: list[str], place: Place) -> bool:
    """Tell whether what is said with this word comes in the order way, then destination: "after" a way, "before" arriving."""
    if place.via_only:
        return link != "before"
    return link in ("before", "while", "whilst", "as") or (link == "when" and (words[0] in v.MOVE or words[0] in v.MOVE_ING))


def _place_step(text: str, clause: list[Token], place: Place) -> PlaceGoal:
    words = text[clause[0].start : clause[-1].end].replace("\n", " ")
    return PlaceGoal(words, place.name, place.side, place.note)


def _joined(text: str, read: list[_Clause]) -> list[_Clause]:
    """Join a clause that names only a way ("go around the box, then ...") with the place that follows it or that it follows."""
    joined: list[_Clause] = []
    for clause in read:
        last = joined[-1] if joined else None
        if last is None or last.place is None or clause.place is None or not (last.place.via_only or _tells_way_to(last, clause)):
            joined.append(clause)
            continue
        notes = "; ".join(dict.fromkeys(note for note in (last.step.note, clause.step.note) if note))
        sides = {side for side in (last.place.side, clause.place.side if clause.place.via_only else "") if side}
        side = sides.pop() if len(sides) == 1 else "" if sides else clause.place.side
        goal = clause.place if last.place.via_only else last.place
        place = replace(goal, side=side, note=notes, lost=goal.lost or clause.place.lost if goal.via_only else "")
        tokens = last.tokens + clause.tokens
        joined[-1] = _Clause(tokens, _place_step(text, tokens, place), place, last.link)
    return joined


def _tells_way_to(goal: _Clause, way: _Clause) -> bool:
    """Tell whether a clause only adds the way to the place before it: "go to the cup, but leave the box on your right"."""
    if goal.place is None or way.place is None or not way.place.via_only or way.link == "then":
        return False
    return bool(way.place.side) and goal.place.side in ("", way.place.side)


def _refers_back(words: list[str], read: list[_Clause]) -> bool:
    """Tell whether this is the "grab it" of "go to the cup and grab it", the "drive to it" of "find the cup and drive to it"."""
    last = read[-1].place if read else None
    if last is None:
        return False
    if words[0] in v.ARM:
        return all(word in v.ARM or word in v.PRONOUNS or word in ("up", "to", "me", "for", "here", "back") for word in words)
    goes = words[0] in v.MOVE or words[0] in v.REACH or words[0] in v.ARRIVE
    return goes and not last.via_only and words[-1] in ("it", "there") and all(word in _BACK for word in words[1:])


def _clauses(tokens: list[Token]) -> list[_Part]:
    """Split at "then", ";", "after passing ..." and the like, and at commas, "and" and full stops before a new instruction."""
    clauses: list[_Part] = []
    current: list[Token] = []
    part: list[Token] = []
    current_link = next_link = ""

    def close_part() -> None:
        nonlocal current, part, current_link, next_link
        if not _trimmed(part):
            current, part = current + part if current and not next_link else current, []
            return
        if current and (next_link or _begins(_trimmed(part), current)):
            clauses.append(_Part(current, current_link))
            current = []
        current_link = current_link if current else next_link
        current, part, next_link = current + part, [], ""

    at = 0
    while at < len(tokens):
        length = _strong_at(tokens, at)
        if length:
            close_part()
            next_link = ";" if tokens[at].word == ";" else "then"
            at += length
            continue
        word = tokens[at].word
        link = _subordinate_at(tokens, at)
        if link in ("at", "by", "past"):
            tokens[at] = tokens[at]._replace(word=link)
        elif link:
            close_part()
            next_link = link
        elif word in v.WEAK or _begins_inside(word, part, (next_link or current_link) in v.SUBORDINATE):
            close_part()
        part = [*part, tokens[at]]
        at += 1
    close_part()
    trimmed = [_Part(_trimmed(clause), link) for clause, link in [*clauses, _Part(current, current_link)]]
    return [clause for clause in trimmed if clause.tokens]


def _subordinate_at(tokens: list[Token], at: int) -> str:
    """Return the word when it begins "after passing ...", "as you go ..."; else what it is read as here, or nothing."""
    word = tokens[at].word
    if word not in v.SUBORDINATE:
        return ""
    follows = at + 1
    while follows < len(tokens) and tokens[follows].word in v.PERSONS:
        follows += 1
    after = tokens[follows].word if follows < len(tokens) else ""
    if at > 1 and tokens[at - 1].word in v.SIDES and any(token.word in _KEEPING for token in tokens[max(0, at - 4) : at - 1]):
        return "by"  # "keep left when passing the box"
    if at > 1 and tokens[at - 1].word in v.STOP and word in ("when", "once") and after in _THERE:
        return "at"  # "... and stop once you reach the cup"
    if word == "after" and after in v.DETERMINERS and any(token.word in v.SIDES for token in tokens[at : at + 8]):
        return "past"  # "after the box on the left, go to the cup"
    return word if after in _GOES else ""


def _strong_at(tokens: list[Token], at: int) -> int:
    """Return how many tokens a separator of steps takes here, 0 for none."""
    word = tokens[at].word
    after = tokens[at + 1].word if at + 1 < len(tokens) else ""
    before = tokens[at - 1].word if at else ","
    if word in v.STRONG:
        return 1
    if (word, after) in (("after", "that"), ("after", "this"), ("after", "which"), ("followed", "by")):
        return 2
    return 1 if word == "next" and after != "to" and (before in v.WEAK or before in v.STRONG) else 0


def _begins(part: list[Token], current: list[Token]) -> bool:
    """Tell whether a part after a comma or "and" is a new instruction, not more of the one before it."""
    words = [token.word for token in part]
    if words[0] in _VERBS:
        return True
    before = {token.word for token in current}
    known = before & v.PLACES.keys() or any(word in v.PLACES for word in words)
    return not known and any(word in v.DIRECTIONS for word in words) and bool(before & v.DIRECTIONS.keys())


def _begins_inside(word: str, part: list[Token], subordinate: bool) -> bool:
    """Tell whether a verb begins a new instruction with no mark before it: "go forward 1 m turn left", "after ... go ..."."""
    if subordinate and any(token.word in v.PLACES for token in part):
        return word in v.MOVE | v.ROAM | v.TURN | v.REACH | v.STOP and part[-1].word not in v.PERSONS
    if not part or word not in v.MOVE | v.TURN or any(token.word in v.PLACES for token in part):
        return False
    last = part[-1].word
    complete = last in v.METRES or last in v.RADIANS or v.DIRECTIONS.get(last) in (Motion.FORWARD, Motion.BACK)
    return complete and any(token.word in v.DIRECTIONS for token in part)


def _trimmed(clause: list[Token]) -> list[Token]:
    """Cut polite and ordering words off both ends."""
    start, end = 0, len(clause)
    while start < end:
        word = clause[start].word
        follows = clause[start + 1].word if start + 1 < end else ""
        if word == "have" and follows not in ("to", "you"):
            break  # "have the box on your left"
        if word in v.POLITE or (word in ("to", "by", "keep", "on") and follows in _ALL_VERBS and start + 1 < end):
            start += 1
        elif (word, follows) == ("why", "not"):
            start += 2
        elif word == "mind" and follows in v.MOVE_ING:
            start += 1
        else:
            break
    while end > start and clause[end - 1].word in _TAIL and clause[max(start, end - 2)].word != "of":
        end -= 1
    return clause[start:end]
