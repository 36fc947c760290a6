"""What a person at the keyboard means: driving keys, modes, goals, recording, emergency stop.

Promises: pure (keys and times in, actions out); while a line is typed or a question is open no key drives; an emergency stop is
released only after a 'y'. Keys n, m, k and p are left to :mod:`vla_bt.control.collecting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from vla_bt.control.teleop_keys import TeleopKeys
from vla_bt.words import Mode

ESCAPE = "\x1b"
QUIT_KEYS = (ESCAPE, "\x03", "\x04")  # Esc, Ctrl-C, Ctrl-D
_ENTER = ("\r", "\n")
_BACKSPACE = ("\x7f", "\b")

STOP = " "
RECORD_KEYS = {"o": "on", "l": "off"}
MODE_KEYS = {"1": Mode.MANUAL, "2": Mode.VLA, "3": Mode.HYBRID}

LEGEND = """\
   q  w  e      forward-left   forward   forward-right        r  turn left
   a     d      left                     right                t  turn right
   z  s  c      back-left      back      back-right           +  faster   -  slower
   space  stop, in every mode: ends the goal too  (a key press is a pulse of {pulse:.1f} s; hold it to go on)

   1 manual   2 vla   3 hybrid      g  type a goal            o  record, anew if it does      l  end it
   x  EMERGENCY STOP                u  release and reset it      Esc  quit
"""


class Kind(Enum):
    """What an action asks for."""

    GOAL = "goal"
    MODE = "mode"
    RECORD = "record"
    DEMONSTRATE = "demonstration"
    PROGRESS = "progress"
    EMERGENCY_STOP = "emergency stop"
    RESET = "reset"
    QUIT = "quit"


@dataclass(frozen=True)
class Action:
    """Something to be sent: the goal's or the mode's text, or ``on`` or ``off`` for recording."""

    kind: Kind
    text: str = ""


class TeleopConsole:
    """Reads key presses one by one.

    Parameters
    ----------
    keys : TeleopKeys
        What the driving keys act on.
    """

    def __init__(self, keys: TeleopKeys) -> None:
        self.keys = keys
        self._line: str | None = None
        self._asks_reset = False

    @property
    def prompt(self) -> str:
        """The line being typed or the open question; empty when keys drive."""
        if self._line is not None:
            return f"goal: {self._line}"
        return "release the emergency stop and reset the gate? y/n" if self._asks_reset else ""

    def feed(self, key: str, now_s: float) -> Action | None:
        """Take one key press at ``now_s`` [s]; return what is to be sent, if anything beyond a velocity."""
        if self._line is not None:
            return self._typed(key)
        if self._asks_reset:
            self._asks_reset = False
            return Action(Kind.RESET) if key.lower() == "y" else None
        if key in QUIT_KEYS:
            return Action(Kind.QUIT)
        if self.keys.press(key, now_s):
            return Action(Kind.GOAL, "stop") if key == STOP else None  # a zero pulse alone only interrupts a goal
        if key in MODE_KEYS:
            return Action(Kind.MODE, MODE_KEYS[key].value)
        if key.lower() == "x":
            self.keys.press(STOP, now_s)
            return Action(Kind.EMERGENCY_STOP)
        if key.lower() in RECORD_KEYS:
            return Action(Kind.RECORD, RECORD_KEYS[key.lower()])
        if key.lower() == "g":
            self._line = ""
        elif key.lower() == "u":
            self._asks_reset = True
        return None

    def _typed(self, key: str) -> Action | None:
        line = self._line or ""
        if key in _ENTER:
            self._line = None
            return Action(Kind.GOAL, line.strip()) if line.strip() else None
        if key in QUIT_KEYS:  # leaves the line, not the program
            self._line = None
        elif key in _BACKSPACE:
            self._line = line[:-1]
        elif key.isprintable():
            self._line = line + key
        return None


def split_keys(text: str) -> list[str]:
    """Split what a terminal sent into key presses; cursor and function keys (escape sequences) are left out."""
    keys, at = [], 0
    while at < len(text):
        if text[at] == ESCAPE and at + 1 < len(text) and text[at + 1] in "[O":
            at += 2
            while at < len(text) and not "@" <= text[at] <= "~":
                at += 1
        else:
            keys.append(text[at])
        at += 1
    return keys
