"""Running jobs: each through the real tree in lockstep, in parallel processes, one line of JSON for each as it ends.

Promises: what a job yields under ``result`` depends on the job, the code and the policy's weights alone, bit for bit on one
machine; a run that crashes is a result that says so; what is in the file already, with the same weights, is not run again, so an
interrupted evaluation goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vla_bt.eval.job import Job
from vla_bt.eval.pool import crashed, one_thread, run_parallel
from vla_bt.eval.run import UNTRAINED, run_job
from vla_bt.policy.names import DEFAULT, check_name, is_path, shipped, split_name
from vla_bt.settings import SettingsError

Outcome = dict[str, Any]
RUNS, SHEETS = "runs.jsonl", "sheets"
"""What is kept in a folder: a line for each run, and a picture for each failure."""


def run_safely(job: Job) -> Outcome:
    """Run a job; a crash is an outcome."""
    try:
        return run_job(job)
    except SettingsError:
        raise
    except Exception as error:  # the evaluation goes on and counts it
        return crashed(job, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def policy_hash(name: str) -> str:
    """Return a digest of a policy's weights and configuration; equal as long as they are.

    Raises
    ------
    SettingsError
        When there is no such policy.
    """
    name = UNTRAINED if name == "untrained" else name
    check_name(name)
    base, scale, words = split_name(name)
    base = DEFAULT if base == "default" else base
    folder = None if scale else Path(base).expanduser() if is_path(base) else shipped(base)
    digest = hashlib.sha256(f"{base}@{scale}@{words}".encode() if folder is None else words.encode())
    if folder is not None:
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
        for path in files:
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def code_hash() -> str:
    """Return a digest of the installed program's own source and settings, by which runs of different versions are told apart."""
    import vla_bt.behaviours
    import vla_bt.config
    import vla_bt.trees

    digest = hashlib.sha256()
    for package in (vla_bt, vla_bt.behaviours, vla_bt.config, vla_bt.trees):
        for root in package.__path__:
            for path in sorted(Path(root).rglob("*")):
                # how it is judged and told is no part of what happened; scenario files are in the jobs
                if path.suffix in (".py", ".yaml") and not {"cli", "dashboard", "train", "scenarios"} & set(path.parts[-3:]):
                    digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Store:
    """The outcomes in a folder, appended one by one; a line cut short by a crash is dropped.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.code = code_hash()
        self._policies: dict[str, str] = {}
        self._known: dict[tuple[str, str], Outcome] = {}
        if folder is not None:
            (folder / SHEETS).mkdir(parents=True, exist_ok=True)
            self._read(folder / RUNS)

    def _read(self, path: Path) -> None:
        if not path.exists():
            return
        content = path.read_bytes()
        for line in content.splitlines():
            try:
                outcome = json.loads(line)
                key = json.dumps(outcome["job"]), outcome["versions"]["policy"]
            except (ValueError, KeyError, TypeError):
                continue
            self._known[key] = outcome
        if content and not content.endswith(b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    def known(self, job: Job) -> Outcome | None:
        """Return what an earlier call found out about a job, with the weights as they are now."""
        return self._known.get((job.to_json(), self._policy(job.policy)))

    def _policy(self, name: str) -> str:
        if name not in self._policies:
            self._policies[name] = policy_hash(name)
        return self._policies[name]

    def keep(self, outcome: Outcome) -> Outcome:
        """Enter an outcome, on the disk when this returns; its picture goes to a file of its own."""
        job = Job.from_json(json.dumps(outcome["job"]))
        sheet = outcome.pop("sheet", b"")
        outcome = outcome | {"versions": {"code": self.code, "policy": self._policy(job.policy)}}
        if self.folder is not None:
            if sheet:
                name = f"{job.id}.jpg"
                (self.folder / SHEETS / name).write_bytes(sheet)
                outcome["sheet"] = f"{SHEETS}/{name}"
            with (self.folder / RUNS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(outcome) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self._known[job.to_json(), self._policy(job.policy)] = outcome
        return outcome


def run_jobs(
    jobs: Iterable[Job], processes: int, folder: Path | None, shown: Callable[[int, int, Outcome], None]
) -> list[Outcome]:
    """Run jobs, those already in ``folder`` left out; returns all outcomes in the order of the jobs.

    Parameters
    ----------
    folder : Path or None
        Where every run is kept as soon as it ends.
    shown : callable
        Is told done, to do, and the newest outcome, of what is run now.
    """
    store, wanted = Store(folder), list(jobs)
    waiting = [job for job in wanted if store.known(job) is None]
    if processes == 1:
        one_thread()
        outcomes: Iterable[Outcome] = map(run_safely, waiting)
    else:
        outcomes = run_parallel(waiting, processes, run_safely) if waiting else ()
    for done, outcome in enumerate(outcomes, start=1):
        shown(done, len(waiting), store.keep(outcome))
    found = [store.known(job) for job in wanted]
    return [outcome for outcome in found if outcome is not None]
