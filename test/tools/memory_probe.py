"""Load a policy, take steps, and print as JSON what was predicted and what was measured.

    python test/tools/memory_probe.py POLICY

Measured is the peak of private memory (RssAnon, sampled) and the file's pages that a few steps touched, both beyond what the
process had before loading.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import torch

from vla_bt.memory.clearing import clear_caches
from vla_bt.policy.compare import pictures
from vla_bt.policy.config import load_preset
from vla_bt.policy.factory import make_network_policy
from vla_bt.policy.names import split_name
from vla_bt.policy.plan import dtype_of, plan
from vla_bt.policy.saved import WEIGHTS, read_card
from vla_bt.policy.shrinking import Shrink
from vla_bt.settings import SettingsError
from vla_bt.words import ZERO


def status(name: str) -> float:
    """Return an entry of /proc/self/status [MB]."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{name}:"))


class Peak(threading.Thread):
    """Samples private memory."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mb = 0.0

    def run(self) -> None:
        while True:
            self.mb = max(self.mb, status("RssAnon"))
            time.sleep(0.002)


def main(name: str) -> None:
    """Predict, load, step, measure."""
    torch.set_num_threads(1)
    base, scale, how = split_name(name)
    if Path(base).is_dir():
        card = read_card(Path(base))
        predicted = plan(card.config, Shrink.parse(how), dtype_of(Path(base) / WEIGHTS), card.models)
    else:
        predicted = plan(load_preset(base, scale), Shrink.parse(how))
    torch.nn.Linear(64, 64)(torch.ones(4, 64))  # the arithmetic libraries' own memory is no policy's
    frames = pictures(3, 720, 1280)
    clear_caches()
    before, mapped = status("RssAnon"), status("RssFile")
    peak = Peak()
    peak.start()
    try:
        policy = make_network_policy(name)
    except SettingsError as error:
        print(json.dumps({"refused": str(error)}))
        return
    policy.reset("go around the box on the left to the cup")
    for index, frame in enumerate(frames):
        policy.step(frame, 0.2 * index, ZERO)
    time.sleep(0.01)
    measured = {"private_mb": peak.mb - before, "mapped_mb": status("RssFile") - mapped}
    expected = {"private_mb": predicted.private_bytes / 1e6, "mapped_mb": predicted.mapped_bytes / 1e6}
    print(json.dumps({"predicted": expected, "measured": measured}))


if __name__ == "__main__":
    main(sys.argv[1])
