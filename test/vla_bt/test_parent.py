"""A child ends with its parent, also one of a pool, whatever the parent died of."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

POOL = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from vla_bt.parent import die_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"), initializer=die_with_parent) as pool:
        for _ in range(2):
            pool.submit(time.sleep, 600)
        time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_pool_ends_with_who_made_it(number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", POOL])
    try:
        end_s = time.monotonic() + 60.0
        workers: list[psutil.Process] = []
        while len(workers) < 2:
            assert time.monotonic() < end_s
            time.sleep(0.1)
            children = psutil.Process(parent.pid).children(recursive=True)
            workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        time.sleep(2.0)  # until they have been told
    finally:
        parent.send_signal(number)
        parent.wait()
    _, left = psutil.wait_procs(workers, timeout=30.0)
    for process in left:
        process.kill()
    assert not left
