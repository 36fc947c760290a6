"""Kinds of options that several verbs take; what does not fit is refused when the command line is read."""

from __future__ import annotations

import argparse
import re


def namespace(text: str) -> str:
    """Return a ROS namespace; empty is none."""
    if not re.fullmatch(r"(/?[A-Za-z_][A-Za-z0-9_]*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a ROS namespace such as robot1")
    return text
