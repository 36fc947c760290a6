"""Running jobs: each through the real tree in lockstep, in parallel processes, one line of JSON for each as it ends.

Promises: what a job yields under ``result`` depends on the job, the code and the policy's weights alone, bit for bit on one
machine; a run that crashes is a result that says so; what is in the file already, made by the same code with the same weights, is
not run again, so an interrupted evaluation goes on; what crashed is tried again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vla_bt.eval.job import Job
from vla_bt.eval.pool import crashed, one_thread, run_parallel
from vla_bt.eval.run import UNTRAINED, load_network, run_job
from vla_bt.eval.sound import read_outcome
from vla_bt.policy.names import DEFAULT, check_name, is_path, shipped, split_name
from vla_bt.settings import SettingsError

Outcome = dict[str, Any]
RUNS, SHEETS = "runs.jsonl", "sheets"
"""What is kept in a folder: a line for each run, and a picture for each failure."""

_TELLING = {"bench", "cli", "dashboard", "ros", "scenarios", "train"}
_TELLING |= {f"{name}.py" for name in ("junit", "page", "page_style", "plots", "report", "stats")}
PARTS_OF_A_POLICY = ("config.json", "model.safetensors")


def run_safely(job: Job) -> Outcome:
    """Run a job; a crash is an outcome."""
    try:
        return run_job(job)
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
        missing = [part for part in PARTS_OF_A_POLICY if not (folder / part).is_file()]
        if missing:
            raise SettingsError(f"policy {name}: not a policy's folder: there is no {missing[0]} in it")
        for path in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def check_policy(name: str) -> None:
    """Load a policy once: a damaged one is one line, and not a crash in every run.

    Raises
    ------
    SettingsError
        When it can't be loaded.
    """
    if name == "expert":
        return
    try:
        load_network(name)
    except SettingsError:
        raise
    except Exception as error:  # of a damaged file a reader may raise anything
        raise SettingsError(f"policy {name}: can't be loaded: {' '.join(str(error).split())[:300]}") from None


def code_hash() -> str:
    """Return a digest of the installed program's own source and settings, by which runs of different versions are told apart."""
    import vla_bt.behaviours
    import vla_bt.config
    import vla_bt.trees

    digest = hashlib.sha256()
    for package in (vla_bt, vla_bt.behaviours, vla_bt.config, vla_bt.trees):
        for root in package.__path__:
            for path in sorted(Path(root).rglob("*")):
                # how it is told is no part of what happened; scenario files are in the jobs
                if path.suffix in (".py", ".yaml") and not _TELLING & set(path.parts[-3:]):
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
        self._passed_over: dict[str, str] = {}
        self.unreadable = 0
        if folder is not None:
            (folder / SHEETS).mkdir(parents=True, exist_ok=True)
            self._read(folder / RUNS)

    def _read(self, path: Path) -> None:
        if not path.exists():
            return
        content = path.read_bytes()
        for line in content.splitlines():
            found = read_outcome(line)
            if found is None:
                self.unreadable += 1
                continue
            job, outcome = found
            if outcome["failure"] == "crashed":
                self._passed_over[job.to_json()] = "crashed before"
            elif outcome["versions"]["code"] != self.code:
                self._passed_over[job.to_json()] = "were made by other code"
            else:
                self._known[job.to_json(), outcome["versions"]["policy"]] = outcome
        if content and not content.endswith(b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    def known(self, job: Job) -> Outcome | None:
        """Return what an earlier call found out about a job, with the weights as they are now."""
        return self._known.get((job.to_json(), self._policy(job.policy)))

    def why_again(self, jobs: Iterable[Job]) -> list[str]:
        """Say in a line each which of these jobs are run again although the folder has a run of theirs."""
        reasons = Counter(self._passed_over[key] for job in jobs if (key := job.to_json()) in self._passed_over)
        lines = [f"{count} runs in {self.folder} {reason}: they are made anew" for reason, count in sorted(reasons.items())]
        if self.unreadable:
            lines.append(f"{self.unreadable} lines of {self.folder}/{RUNS} are no whole runs of this program: not used")
        return lines

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
    jobs: Iterable[Job],
    processes: int,
    folder: Path | None,
    shown: Callable[[int, int, Outcome], None],
    note: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Run jobs, those already in ``folder`` left out; returns all outcomes in the order of the jobs.

    Parameters
    ----------
    folder : Path or None
        Where every run is kept as soon as it ends.
    shown : callable
        Is told done, to do, and the newest outcome, of what is run now.
    note : callable
        Is told, in a line each, why runs in the folder are made anew.

    Raises
    ------
    SettingsError
        When a policy can't be loaded; nothing was run then.
    """
    store, wanted = Store(folder), list(jobs)
    waiting = [job for job in wanted if store.known(job) is None]
    for line in store.why_again(waiting):
        note(line)
    if waiting:
        one_thread()
    for policy in dict.fromkeys(job.policy for job in waiting):
        check_policy(policy)
    outcomes: Iterable[Outcome] = map(run_safely, waiting) if processes == 1 else run_parallel(waiting, processes, run_safely)
    for done, outcome in enumerate(outcomes, start=1):
        shown(done, len(waiting), store.keep(outcome))
    found = [store.known(job) for job in wanted]
    return [outcome for outcome in found if outcome is not None]
