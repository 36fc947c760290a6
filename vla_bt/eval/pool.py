"""Worker processes that run jobs: one job at a time each, so that it is known which one a process died of.

Promises: a job whose process dies is reported as such and the others go on in a fresh process; Ctrl-C reaches the caller alone,
and when it leaves the pool every worker has ended; a worker whose caller is gone ends after its job at the latest; one that hangs
is ended, and its job reported as crashed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from vla_bt.eval.job import Job

Outcome = dict[str, Any]
Runner = Callable[[Job], Outcome]
Limit = Callable[[Job], float]
PATIENCE_S = 2.0


def crashed(job: Job, words: str) -> Outcome:
    """Return the outcome of a run that gave none."""
    return {"job": job.to_dict(), "ok": False, "failure": "crashed", "result": None, "error": words, "timing": {}}


def one_thread() -> None:
    """Keep numeric libraries that are loaded from now on to one thread: a step is too small to share."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS"):
        os.environ[name] = "1"


def _work(pipe: Connection, run: Runner) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the caller decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(run(Job.from_json(pipe.recv())))


class _Worker:
    def __init__(self, run: Runner) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, run), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.until_s = 0.0

    def give(self, job: Job, limit_s: float) -> None:
        self.job, self.until_s = job, time.monotonic() + limit_s
        with contextlib.suppress(BrokenPipeError):  # it died while idle: the wait sees that
            self.pipe.send(job.to_json())

    def end(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(PATIENCE_S)


def _usual_limit_s(job: Job) -> float:
    return job.wall_limit_s + PATIENCE_S  # the run itself says so first, if it still can


def run_parallel(jobs: list[Job], processes: int, run: Runner, limit_s: Limit = _usual_limit_s) -> Iterator[Outcome]:
    """Yield outcomes as they come.

    Parameters
    ----------
    run : callable
        Importable in a fresh process; runs one job.
    limit_s : callable
        What a job may take on the wall clock [s].
    """
    one_thread()
    left = list(reversed(jobs))
    workers: list[_Worker] = []
    try:
        for _ in range(min(processes, len(jobs))):
            workers.append(_Worker(run))
            workers[-1].give(left[-1], limit_s(left.pop()))
        while busy := [worker for worker in workers if worker.job is not None]:
            first_s = min(worker.until_s for worker in busy) - time.monotonic()
            ready = wait([worker.pipe for worker in busy], max(0.0, first_s))
            hung = [worker for worker in busy if worker.pipe not in ready and worker.until_s <= time.monotonic()]
            for worker in [worker for worker in busy if worker.pipe in ready] + hung:
                job, worker.job = worker.job, None
                assert job is not None
                words = f"no end after {limit_s(job):.0f} s of the wall clock: its process was ended"
                try:
                    outcome = worker.pipe.recv() if worker not in hung else None
                except (EOFError, ConnectionResetError):
                    outcome = None
                    worker.process.join(PATIENCE_S)
                    words = f"its process ended with exit code {worker.process.exitcode}"
                if outcome is None:
                    outcome = crashed(job, words)
                    workers.remove(worker)
                    worker.end()
                    if left:
                        worker = _Worker(run)
                        workers.append(worker)
                if left:
                    worker.give(left[-1], limit_s(left.pop()))
                yield outcome
    finally:
        for worker in workers:
            worker.end()
