"""Turns of phrase that stand for one word: "make your way" is "go", "give ... a wide berth" is "pass", "your goal is" is "reach".

Promises: only the word that is read changes; where it stood in the text is kept, so the policy is told the person's own words.
Linear: at each token no more than :data:`_LONGEST` are looked at.
"""

from __future__ import annotations

from vla_bt.goals import vocabulary as v
from vla_bt.goals.reading import Token


def _table(**phrases: str) -> dict[tuple[str, ...], str]:
    return {tuple(phrase.split()): word for word, text in phrases.items() for phrase in text.split(",")}


_PHRASES = _table(
    go="""make your way,make its way,make a way,work your way,find your way,find a way,pick your way,wend your way,wind your way,
    thread your way,weave your way,feel your way,take yourself,get yourself,bring yourself,move yourself,make a beeline,set off,
    set out,press on,push on,carry on,keep going,keep on going,keep driving,keep on driving,keep moving,keep heading""",
    going="making your way,working your way,finding your way,carrying on,setting off,setting out",
    approach="make for,aim for,aim at,set course for",
    approaching="making for,aiming for",
    arrive="""end up,wind up,finish up,fetch up,pull up,draw up,come to rest,come to a rest,come to a stop,come to a halt,
    come to a standstill,end your journey,end your trip,end your run,make a stop""",
    arriving="ending up,winding up,finishing up,pulling up,drawing up,coming to rest,coming to a stop,coming to a halt",
    lead="show me the way,show us the way",
    choose="opt for",
    touching="a collision with,any collision with,collisions with,contact with,any contact with,running into,driving into",
    keep="make sure,ensure,ensure that,make sure that,see that,see to it that",
    avoid="steer clear of,keep clear of,stay clear of,keep well clear of",
    avoiding="steering clear of,keeping clear of,staying clear of",
    berth="""a wide berth,wide berth,a berth,plenty of room,plenty of space,lots of room,lots of space,enough room,enough space,
    some room,some space,a lot of room,a lot of space""",
    **{"with": "so that,so the"},
    via="by way of,by means of,by using",
    behind="on the far side of,at the far side of",
    until="as far as,all the way to,all the way up to,up until",
    once="as soon as",
    enroute="on the way,on your way,along the way,en route",
    please="""be careful to,being careful to,take care to,taking care to,be so kind as to,be so good as to,be kind enough to,
    be good enough to,make sure to,make sure you,make sure that you,be sure to,feel free to,remember to,i would like you to,
    i'd like you to,your job is to,your task is to,your mission is to,you should,you must,you have to,you need to,you are to,
    from here,from where you are""",
    remains="""should be,must be,should stay,must stay,should remain,must remain,is to be,ought to be,needs to be,
    has to be,is kept,so it is,so that it is,so it's,so that it's,so it stays,stays,remains""",
)
_AIMS = frozenset(("target", "goal", "destination", "aim", "objective", "endpoint"))
_OWNERS = frozenset(("the", "your", "our", "my", "a", "its"))
_IS = frozenset(("is", ":", "=", "being", "will"))
_LONGEST = max(len(phrase) for phrase in _PHRASES)
_FIRST = frozenset(phrase[0] for phrase in _PHRASES)


def folded(tokens: list[Token]) -> list[Token]:
    """Return the tokens with every phrase as one, and the owner's mark off known things ("the box's left side")."""
    plain = [_without_owner(token) for token in tokens]
    words = [token.word for token in plain]
    found: list[Token] = []
    at = 0
    while at < len(plain):
        length, word = _aim_at(words, at) or _phrase_at(words, at) or (1, words[at])
        found.append(Token(word, plain[at].start, plain[at + length - 1].end))
        at += length
    return [_in_its_sentence(found, at) for at in range(len(found))]


def _without_owner(token: Token) -> Token:
    stem = token.word[:-2] if token.word.endswith("'s") else ""
    return token._replace(word=stem) if stem in v.PLACES else token


def _phrase_at(words: list[str], at: int) -> tuple[int, str] | None:
    if words[at] in _FIRST:
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            word = _PHRASES.get(tuple(words[at : at + length]))
            if word is not None:
                return length, word
    return None


def _aim_at(words: list[str], at: int) -> tuple[int, str] | None:
    """Read "your target is", "goal:", "target cup" before a thing and "is the target" behind one, all as ``reach``."""
    owner = 1 if words[at] in _OWNERS else 0
    if words[at + owner : at + owner + 1] and words[at + owner] in _AIMS:
        follows = words[at + owner + 1 : at + owner + 2]
        if follows and follows[0] in _IS:
            return owner + 2, "reach"
        if not owner and follows and follows[0] in v.PLACES:
            return 1, "reach"
    if words[at] == "is" and at and words[at - 1] in v.PLACES:
        aim = 2 if words[at + 1 : at + 2] and words[at + 1] in _OWNERS else 1
        if words[at + aim : at + aim + 1] and words[at + aim] in _AIMS:
            return aim + 1, "reach"
    return None


def _in_its_sentence(tokens: list[Token], at: int) -> Token:
    """Read "give the big box a wide berth" as passing it, and the comma of "go to the cup, box on your left" as "with"."""
    token = tokens[at]
    follows = [after.word for after in tokens[at + 1 : at + 9]]
    if token.word in ("give", "giving") and "berth" in follows:
        return token._replace(word="pass")
    if token.word == ",":
        thing = next((index for index, word in enumerate(follows[:4]) if word in v.PLACES), 0)
        told = follows[: thing + 1] if follows[thing + 2 : thing + 3] == ["your"] else [""]
        if all(word in v.PLACES or word in ("the", "a", "both", "two") for word in told):
            return token._replace(word="with")
    return token
