"""Errors that more than one part of the policy tells apart. Loads no torch."""

from __future__ import annotations

from vla_bt.settings import SettingsError


class DoesNotFitError(SettingsError):
    """A policy that would not fit into the memory there is; the message is one line. Less of it may fit."""
