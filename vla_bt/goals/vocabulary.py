"""Every English word the goal parser knows, by the part it plays. Words it does not know can never move the robot."""

from __future__ import annotations

import math

from vla_bt.goals.plan import Motion

DEFAULT_DISTANCE_M = 0.5
DEFAULT_ANGLE_RAD = math.pi / 2
MAX_DISTANCE_M = 20.0
MIN_DISTANCE_M = 0.02
MAX_ANGLE_RAD = 4 * math.pi
MIN_ANGLE_RAD = math.radians(2.0)


def words_in(text: str) -> frozenset[str]:
    """Return the words of a line."""
    return frozenset(text.split())


def _unit(text: str, factor: float) -> dict[str, float]:
    return dict.fromkeys(text.split(), factor)


def _numbers(text: str, first: int, step: int) -> dict[str, float]:
    return {word: float(first + step * index) for index, word in enumerate(text.split())}


def _names(**synonyms: str) -> dict[str, str]:
    """Map each synonym, and its plurals, to the name."""
    table: dict[str, str] = {}
    for name, text in synonyms.items():
        for word in (name, *text.split()):
            table |= {word: name, word + "s": name, word + "es": name}
    return table


def _forms(text: str) -> frozenset[str]:
    """Return the verbs with their -ing forms ("cut", "cutting"); what is no English beside them does no harm."""
    return frozenset(
        form for verb in text.split() for form in (verb, verb + "ing", verb.rstrip("e") + "ing", verb + verb[-1] + "ing")
    )


PLACES = _names(
    cup="mug glass beaker teacup tumbler",
    box="carton crate package parcel",
    object="thing item target obstacle marker",
    door="doorway gate",
    table="desk",
    wall="",
    chair="stool armchair",
    bottle="flask",
    ball="",
    bag="backpack",
    bin="basket bucket trashcan",
    sofa="couch",
    shelf="bookshelf rack shelve",
    window="",
    corner="",
    plant="",
    cone="",
    dock="charger",
    entrance="exit entry",
    corridor="hallway hall",
    room="kitchen office",
)
"""Things that can be gone to, each with the name it is reported by."""

PRONOUNS = words_in("it them that there")

# A way of moving: plain forms can begin a step, -ing forms only describe one.
MOVE = words_in(
    "go move drive travel roll proceed head advance run walk come get steer continue shift slide strafe sidestep step return"
)
MOVE_ING = words_in(
    "going moving driving traveling travelling rolling proceeding heading advancing running walking coming getting steering "
    "continuing shifting sliding strafing returning"
)
ROAM = _forms(
    "veer swing swerve curve loop weave edge cut bear bend arc sweep ease slip sneak squeeze manoeuvre maneuver glide creep "
    "crawl "
    "trundle wander stroll scoot zoom speed hurry rush race dash hop nip pop cruise sail ride track journey detour divert "
    "deviate curl wind snake zigzag coast motor amble march jog trek press scurry float wheel hook "
    "cross transit progress venture set trace"
) - {"wind"}
"""Ways of moving that say too little for a measured motion; to a place they are as good as "go"."""
TURN = words_in("turn rotate spin pivot swivel face look")
TURN_ING = words_in("turning rotating spinning pivoting swivelling facing looking")
TAKE = words_in("take make hang do")  # "take a left", "make a right turn"
REACH = words_in("reach meet approach visit find seek locate navigate arrive follow bring lead guide")
REACH_ING = words_in("reaching meeting approaching visiting finding seeking locating navigating arriving following")
ARRIVE = words_in(
    "arrive arriving park parking finish finishing end ending rest resting brake braking settle settling stopping halting"
)
WARD_OFF = _forms("avoid dodge evade mind watch beware shun clear") | words_in("without")
"""What follows is to be kept off: alone it tells no place to go to."""
HOLD = words_in("keep keeping have having leave leaving with")
"""Who keeps, has or leaves the box on the right passes it on the left."""
PASS = (
    words_in(
        "pass bypass circle skirt circumvent stay keep hug flank round outflank circumnavigate leave sidestep use choose prefer"
    )
    | WARD_OFF
)
PASS_ING = words_in(
    "passing bypassing circling skirting circumventing staying keeping hugging flanking rounding outflanking leaving taking "
    "using choosing"
)
GONE = words_in(
    "gone driven moved travelled traveled headed been gotten got steered passed avoided bypassed circled skirted cleared rounded"
)
"""Participles: "once you have passed the box"."""
ARM = words_in(
    "grab grasp pick take fetch collect lift hold carry bring get catch raise open close deliver give hand put place drop"
)
HARM = words_in(
    "push pushing hit hitting ram ramming kick kicking crash crashing bump bumping smash smashing touch touching knock "
    "knocking collide colliding crush crushing break breaking destroy destroying scrape scraping shove shoving attack attacking "
    "damage damaging hurt hurting harm harming burn burning throw throwing topple toppling trample trampling slam slamming bash "
    "bashing punch punching nudge nudging squash flatten injure kill"
)
STOP = words_in("stop halt freeze estop abort cancel stpo sotp")
STOP_SOFT = words_in("wait hold stay stand pause quit enough whoa no")  # a stop only when nothing else is said
STOP_FILL = words_in(
    "now please the a robot moving driving going turning right immediately at once there here everything it that you all "
    "and still on put up emergency movement motion motors instantly first just ok okay hey oh again stopping quickly fast "
    "must should your yourself to want i need can could would do in where are"
)

DIRECTIONS: dict[str, Motion] = {
    **dict.fromkeys(("forward", "forwards", "ahead", "onward", "onwards"), Motion.FORWARD),
    **dict.fromkeys(("back", "backward", "backwards", "reverse", "retreat", "rearward", "rearwards"), Motion.BACK),
    **dict.fromkeys(("left", "leftward", "leftwards"), Motion.LEFT),
    **dict.fromkeys(("right", "rightward", "rightwards"), Motion.RIGHT),
    **dict.fromkeys(("anticlockwise", "counterclockwise"), Motion.TURN_LEFT),
    "clockwise": Motion.TURN_RIGHT,
}
MOTION_FILL = words_in(
    "to the your on by for about of towards toward slowly quickly fast carefully gently straight direction side hand way "
    "approximately roughly exactly another more place spot in a an up just now please further over off through robot speed "
    "at full directly , . ! ? and"
)
SMALL = words_in("little bit slightly tad")
DURATIONS = words_in("second seconds sec secs s minute minutes min mins hour hours while forever ms")

SIDES = {
    **dict.fromkeys(("left", "leftward", "leftwards", "lefthand"), "left"),
    **dict.fromkeys(("right", "rightward", "rightwards", "righthand"), "right"),
}
TO = words_in("to toward towards until till at into onto") | REACH | REACH_ING | ARRIVE
VIA = (
    words_in(
        "around round past via between through behind beside near by under on over from within before next beyond in "
        "inside passed avoided bypassed circled skirted cleared rounded"
    )
    | HOLD
    | PASS
    | PASS_ING
    | HARM
)
STOP_AT = words_in("at near before beside behind by next close in at under")

NEGATIONS = words_in("not never no dont without cannot")
CONDITIONS = words_in("if unless when whenever once while whilst because after provided except besides instead lest")
SUBORDINATE = words_in("after once when while whilst as before having")
"""Begin the half of a sentence that says when: "after passing the box on the left, go to the cup"."""
PERSONS = words_in("you you're you've have having are been be i it to")
QUESTIONS = words_in(
    "what where who why how which whose is are was were am did does has had goes went drove moves walked ran it's i'm he she "
    "they it that's there's"
)
INSIDE = words_in("through over into onto across inside down")
OPEN = words_in("door entrance corridor room window dock corner")
"""What can be driven through or into."""
NOWHERE = words_in("nowhere anywhere everywhere somewhere elsewhere anything everything nothing something home")
POLITE = words_in(
    "please kindly could can would will you robot hey hi hello ok okay now just i want need i'd id like let's lets let us "
    "we so well alright first firstly start starting begin and then also try should must have simply immediately "
    "quickly slowly carefully gently finally lastly next afterwards thanks thank attempt but hence thus "
    ", . ! ? ; : & + -"
)
DETERMINERS = words_in("the a an your its my our their every each any some no")
PLAIN = (
    POLITE
    | MOTION_FILL
    | PERSONS
    | PRONOUNS
    | DETERMINERS
    | CONDITIONS
    | SUBORDINATE
    | NEGATIONS
    | QUESTIONS
    | words_in(
        "me us yourself this these those both all one two first second third last other main whole same very only still again "
        "once too fast soon careful clear close closer away front back end side edge part path route lane course line flank face "
        "rear trail berth room space distance order while so as than or because any more further enroute out off up down along "
        "across of in from that which what where here his her see seeing remains own long short way ways hand hands possible "
        "time moment alongside adjacent opposite tight wide well use choose choosing against alone therefore kept gap "
        "opening passage"
    )
)
"""Words that may stand in a sentence about a place and change nothing."""


STRONG = words_in("then afterwards thereafter subsequently secondly thirdly finally lastly ;") | {"\n"}
WEAK = words_in(", . ! ? : and but & + -")

DIGITS = _numbers("zero one two three four five six seven eight nine ten eleven twelve", 0, 1) | _numbers(
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen", 13, 1
)
TENS = _numbers("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)
FRACTIONS = {"half": 0.5, "quarter": 0.25, "quarters": 0.25, "third": 1 / 3, "thirds": 1 / 3, "halves": 0.5}

METRES: dict[str, float] = {
    **_unit("m metre metres meter meters mtr mtrs", 1.0),
    **_unit("cm cms centimetre centimetres centimeter centimeters", 0.01),
    **_unit("mm millimetre millimetres millimeter millimeters", 0.001),
    **_unit("km kilometre kilometres kilometer kilometers", 1000.0),
    **_unit("ft foot feet", 0.3048),
    **_unit("inch inches", 0.0254),
    **_unit("yd yard yards", 0.9144),
    **_unit("mile miles", 1609.344),
}
RADIANS: dict[str, float] = {
    **_unit("deg degs degree degrees \u00b0", math.pi / 180),
    **_unit("rad rads radian radians", 1.0),
    **_unit("turn turns rotation rotations revolution revolutions circle circles", 2 * math.pi),
}

KNOWN: frozenset[str] = frozenset().union(
    *(PLACES, MOVE, MOVE_ING, ROAM, TURN, TURN_ING, REACH, REACH_ING, PASS, PASS_ING, ARM, HARM, STOP, DIRECTIONS, ("uturn",)),
)
"""Words that carry meaning: a text without any of them is not understood at all."""
