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


def _words(text: str) -> frozenset[str]:
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

PRONOUNS = _words("it them that there")

# A way of moving: plain forms can begin a step, -ing forms only describe one.
MOVE = _words(
    "go move drive travel roll proceed head advance run walk come get steer continue shift slide strafe sidestep step return"
)
MOVE_ING = _words(
    "going moving driving traveling travelling rolling proceeding heading advancing running walking coming getting steering "
    "continuing shifting sliding strafing returning"
)
TURN = _words("turn rotate spin pivot swivel face look")
TURN_ING = _words("turning rotating spinning pivoting swivelling facing looking")
TAKE = _words("take make hang do")  # "take a left", "make a right turn"
REACH = _words("reach approach visit find seek locate navigate arrive follow bring lead guide")
REACH_ING = _words("reaching approaching visiting finding seeking locating navigating arriving following")
PASS = _words("pass avoid bypass circle skirt circumvent dodge evade mind watch beware stay keep")
PASS_ING = _words("passing avoiding bypassing circling skirting circumventing dodging evading staying keeping")
ARM = _words(
    "grab grasp pick take fetch collect lift hold carry bring get catch raise open close deliver give hand put place drop"
)
HARM = _words(
    "push pushing hit hitting ram ramming kick kicking crash crashing bump bumping smash smashing touch touching knock "
    "knocking collide colliding crush crushing break breaking destroy destroying scrape scraping"
)
STOP = _words("stop halt freeze estop abort cancel stpo sotp")
STOP_SOFT = _words("wait hold stay stand pause quit enough whoa no")  # a stop only when nothing else is said
STOP_FILL = _words(
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
MOTION_FILL = _words(
    "to the your on by for about of towards toward slowly quickly fast carefully gently straight direction side hand way "
    "approximately roughly exactly another more place spot in a an up just now please further over off through robot speed "
    "at full directly , . ! ? and"
)
SMALL = _words("little bit slightly tad")
DURATIONS = _words("second seconds sec secs s minute minutes min mins hour hours while forever ms")

TO = _words("to toward towards until till at into onto") | REACH | REACH_ING
VIA = (
    _words("around round past via between through behind beside near by under on over from within before next")
    | PASS
    | PASS_ING
    | HARM
)
STOP_AT = _words("at near before beside behind by next close in at under")

NEGATIONS = _words("not never no dont without cannot")
CONDITIONS = _words("if unless when whenever once while because after")
QUESTIONS = _words(
    "what where who why how which whose is are was were am did does has have had it's i'm he she they it that's there's"
)
POLITE = _words(
    "please kindly could can would will you robot hey hi hello ok okay now just i want need i'd id like let's lets let us "
    "we so well alright first firstly start starting begin and then also try should must have simply immediately "
    "quickly slowly carefully gently finally lastly next afterwards , . ! ? ; : & + -"
)

STRONG = _words("then afterwards thereafter subsequently secondly thirdly finally lastly ;") | {"\n"}
WEAK = _words(", . ! ? : and but & + -")

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
    PLACES, MOVE, MOVE_ING, TURN, TURN_ING, REACH, REACH_ING, PASS, PASS_ING, ARM, HARM, STOP, DIRECTIONS, ("uturn",)
)
"""Words that carry meaning: a text without any of them is not understood at all."""
