"""Kinds of options that several verbs take; what does not fit is refused when the command line is read."""

from __future__ import annotations

import argparse
import re


def namespace(text: str) -> str:
    """Return a ROS namespace; empty is none."""
    if not re.fullmatch(r"(/?[A-Za-z_][A-Za-z0-9_]*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a ROS namespace such as robot1")
    return text


def port(text: str) -> int:
    """Return a port's number; 0 is any free one."""
    if not text.isascii() or not text.isdigit() or not int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to 65535")
    return int(text)
