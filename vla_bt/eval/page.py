"""A report as one HTML page that holds everything it shows: no file beside it, nothing from the network.

Promises: every text of a person, of a policy or of the tree is escaped; without scripts all is readable: they only copy a
command.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from vla_bt.eval.checks import Outcome, grouped
from vla_bt.eval.job import Job
from vla_bt.eval.page_style import FRAME, SCRIPT, STYLE
from vla_bt.eval.plots import SOURCES, interval_svg, path_svg, paths_svg, velocity_svg
from vla_bt.eval.report import AXES, Part, job_command, summarise
from vla_bt.sim.scenes import DISTANCES, PATTERNS, POSITIONS

FAILURES_SHOWN, RUNS_SHOWN, WORLDS_SHOWN = 40, 48, 8
"""For each scenario and policy: failures in full, small pictures of runs, worlds with all policies."""

Html = str


def page(
    parts: list[Part], entries: list[dict[str, Any]], timing: dict[str, Any], folder: Path, sizes: Iterable[dict[str, Any]] = ()
) -> Html:
    """Return the page.

    Parameters
    ----------
    entries : list of dict
        :func:`vla_bt.eval.report.report` of each part.
    timing : dict
        Figures of speed.
    folder : Path
        Where the failures' pictures lie.
    sizes : iterable of dict
        :func:`vla_bt.eval.checks.between_sizes`.
    """
    failures = sum(not outcome["ok"] for part in parts for outcome in part.outcomes)
    runs = sum(len(part.outcomes) for part in parts)
    body = [
        "<header><h1>Evaluation</h1>",
        f"<p>{runs} runs, {failures} failed. Judged by the simulator's truth: arrival claimed and stopped within 0.4 m, nothing "
        "touched, passed on the told side. Intervals are Wilson's, 95 %.</p>",
        f"<p class='quiet'>{_speed(timing)}</p>",
        "<nav>" + " ".join(f"<a href='#{name}'>{label}</a>" for name, label in _SECTIONS) + "</nav></header>",
        _summary(entries, sizes),
        _failures(parts, folder),
        _tables(parts, entries),
        _worlds(parts),
        _gallery(parts),
        _again(entries),
    ]
    return FRAME.format(style=STYLE, script=SCRIPT, body="\n".join(body))


_SECTIONS = (
    ("summary", "Summary"),
    ("failures", "Failures"),
    ("tables", "Tables"),
    ("worlds", "Side by side"),
    ("runs", "Ways and velocities"),
    ("again", "Run again"),
)


def _speed(timing: dict[str, Any]) -> Html:
    if not timing.get("runs"):
        return "All runs were kept from an earlier call."
    return (
        f"{timing['runs']} runs in {timing['wall_s']:.0f} s with {timing['jobs']} processes: "
        f"{timing['simulated_per_wall']:.1f} simulated seconds a second, "
        f"{timing['simulated_per_core_second'] or 0:.1f} a second of processor time."
    )


def _share(row: dict[str, Any]) -> Html:
    low, high = row["interval"]
    bar = interval_svg(row["share"] or 0.0, low, high)
    return f"{bar} <b>{row['ok']}/{row['runs']}</b> <span class='quiet'>{low:.1%} to {high:.1%}</span>"


def _label(entry: dict[str, Any]) -> Html:
    info = entry["info"] or {}
    weights = f", weights {info['weights_hash'][:12]}" if info.get("weights_hash") else ""
    return escape(f"{info['label']}{weights}") if info else ""


def _figure(value: Any, unit: str = "") -> Html:
    return "&ndash;" if value is None else f"{value:g}{unit}"


_FIGURES = (
    ("false 'reached'", "false_reached", ""),
    ("touched", "contacts", ""),
    ("time", "median_time_s", " s"),
    ("way", "median_path_m", " m"),
    ("way / expert's plan", "median_path_ratio", ""),
    ("roughness", "median_smoothness", " m/s²"),
    ("stops", "mean_stops", ""),
    ("takeovers", "interventions", ""),
)


def _summary(entries: list[dict[str, Any]], sizes: Iterable[dict[str, Any]]) -> Html:
    heads = "".join(f"<th>{escape(head)}</th>" for head, _, _ in _FIGURES)
    rows = []
    for scenario in dict.fromkeys(entry["scenario"] for entry in entries):
        some = [entry for entry in entries if entry["scenario"] == scenario]
        for index, entry in enumerate(some):
            first = ""
            if index == 0:
                about = f"<div class='quiet'>{escape(entry['about'])}</div>"
                first = f"<th rowspan='{len(some)}' scope='rowgroup'>{escape(scenario)}{about}</th>"
            mark = "<span class='good'>passed</span>" if entry["passed"] else "<span class='bad'>not passed</span>"
            required = mark + "".join(_check(check) for check in entry["checks"])
            if entry["told_no_side"]:
                required += f"<div class='quiet'>{entry['told_no_side']} runs were told no side: it is not judged</div>"
            figures = "".join(f"<td class='number'>{_figure(entry['all'][name], unit)}</td>" for _, name, unit in _FIGURES)
            policy = f"<td>{escape(entry['who'])}<div class='quiet'>{_label(entry)}</div></td>"
            rows.append(f"<tr>{first}{policy}<td class='wide'>{_share(entry['all'])}<div>{required}</div></td>{figures}</tr>")
    compared = "".join(f"<div>{escape(size['scenario'])}, {escape(size['policy'])}: {_check(size)}</div>" for size in sizes)
    return (
        "<section id='summary'><h2>Summary</h2><div class='scroll'><table><thead><tr><th>scenario</th><th>policy</th>"
        f"<th>successes</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        "<p class='quiet'>Time, way and roughness (mean change of velocity) are medians of the successes; false 'reached' and "
        f"touched count all runs.</p>{compared}</section>"
    )


def _check(check: dict[str, Any]) -> Html:
    kind = "quiet" if check["passed"] else "bad"
    return f"<div class='check {kind}'>{escape(check['check'])}: {escape(check['found'])}</div>"


# ---------------------------------------------------------------------- failures


def _failures(parts: list[Part], folder: Path) -> Html:
    blocks = []
    for part in parts:
        failed = [outcome for outcome in part.outcomes if not outcome["ok"]]
        if not failed:
            continue
        reasons = ", ".join(
            f"{escape(reason)} {len(some)}" for reason, some in grouped(failed, lambda o: str(o["failure"])).items()
        )
        shown = _spread(failed, FAILURES_SHOWN)
        rest = f"<p class='quiet'>{len(shown)} of {len(failed)} are shown, of each kind.</p>" if len(shown) < len(failed) else ""
        cards = "".join(_card(outcome, folder, opened=index < 3) for index, outcome in enumerate(shown))
        blocks.append(f"<h3>{escape(part.name)}, {escape(part.who)}: {len(failed)} failed ({reasons})</h3>{rest}{cards}")
    return f"<section id='failures'><h2>Failures</h2>{''.join(blocks) or '<p>None.</p>'}</section>"


def _spread(failed: list[Outcome], count: int) -> list[Outcome]:
    """Take up to ``count`` of them, in turn from each kind of failure."""
    kinds = list(grouped(failed, lambda outcome: str(outcome["failure"])).values())
    shown: list[Outcome] = []
    for index in range(max(map(len, kinds))):
        shown += [kind[index] for kind in kinds if index < len(kind)]
    return shown[:count]


def _place(job: dict[str, Any]) -> Html:
    return escape(" ".join(str(job[axis]) for axis in AXES) + f", seed {job['seed']}")


def _card(outcome: Outcome, folder: Path, opened: bool) -> Html:
    raw, result = outcome["job"], outcome["result"]
    job = Job.from_json(json.dumps(raw))
    facts = [("goal", raw["goal"])]
    if "error" in outcome:
        facts.append(("error", outcome["error"]))
    if result:
        ends = "; ".join(
            f"{goal['text']!r} {goal['end']}" + (f" ({goal['reason']})" * bool(goal["reason"])) for goal in result["goals"]
        )
        sides = ", ".join(side or "neither" for side in result["sides_passed"])
        facts += [
            ("goals", ends or "none heard"),
            ("ended", f"after {result['time_s']:.1f} s, {result['cup_distance_m']:.2f} m from what counts"),
            ("touched", result["contact"] or "nothing"),
            ("passed on", f"{sides}; told {result['side_told'] or 'none'}"),
        ]
        facts += [
            ("false claim", f"at {claim['at_s']:.1f} s by {claim['evidence']}: {_off(claim)}")
            for claim in result["claims"]
            if not claim["true"]
        ]
    if raw.get("stresses"):
        facts.append(("stresses", ", ".join(raw["stresses"])))
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(words))}</td></tr>" for name, words in facts)
    trace = outcome.get("trace", [])
    plots = f"<div>{path_svg(job, trace, 360)}{velocity_svg(trace, 360, 90)}{_legend()}</div>" if trace else ""
    trees = "".join(
        f"<details{' open' * (index == 0)}><summary>the tree at {escape(moment)}</summary><pre>{escape(text)}</pre></details>"
        for index, (moment, text) in enumerate(outcome.get("tree", {}).items())
    )
    return (
        f"<details class='card'{' open' if opened else ''}><summary><b class='bad'>{escape(outcome['failure'])}</b> {_place(raw)}"
        f"</summary><div class='columns'>{plots}<div class='grow'><table class='facts'>{table}</table>{_sheet(outcome, folder)}"
        f"</div></div>{trees}{_command(job_command(raw))}</details>"
    )


def _off(claim: dict[str, Any]) -> str:
    if claim["distance_m"] is not None:
        return f"{claim['distance_m']:.2f} m away"
    x, y, turn = claim["moved"]
    return f"moved {x:+.2f} m, {y:+.2f} m, turned {turn:+.2f} rad"


def _sheet(outcome: Outcome, folder: Path) -> Html:
    name = outcome.get("sheet")
    if not name or not (folder / name).is_file():
        return ""
    data = base64.b64encode((folder / name).read_bytes()).decode()
    return f"<img class='sheet' alt='what the camera saw' loading='lazy' src='data:image/jpeg;base64,{data}'>"


def _command(line: str) -> Html:
    return f"<div class='command'><code>{escape(line)}</code><button type='button'>copy</button></div>"


def _legend() -> Html:
    drove = " ".join(f"<span class='key s{number}'>{name}</span>" for number, name in SOURCES.items())
    speeds = "<span class='key v0'>forward</span> <span class='key v1'>left</span> <span class='key v2'>turning</span>"
    return f"<div class='legend'>{drove}<br>{speeds} <span class='quiet'>full scale 0.6 m/s, 1.2 rad/s</span></div>"


# ---------------------------------------------------------------------- tables


def _tables(parts: list[Part], entries: list[dict[str, Any]]) -> Html:
    blocks = []
    for part, entry in zip(parts, entries, strict=True):
        title = f"<h3>{escape(part.name)}, {escape(part.who)}</h3>"
        margins = "".join(_margin(name, rows) for name, rows in entry["by"].items() if len(rows) > 1)
        blocks.append(f"{title}<div class='columns'>{margins}</div>{_matrix(part)}")
    return f"<section id='tables'><h2>Tables</h2>{''.join(blocks)}</section>"


def _margin(name: str, rows: dict[str, Any]) -> Html:
    lines = "".join(f"<tr><th>{escape(key)}</th><td class='wide'>{_share(row)}</td></tr>" for key, row in rows.items())
    return f"<table><thead><tr><th>{name}</th><th>successes</th></tr></thead><tbody>{lines}</tbody></table>"


def _matrix(part: Part) -> Html:
    """Draw scene and distance down, position and pattern across; each cell runs again by its own command."""
    cells = grouped(part.outcomes, lambda outcome: json.dumps([outcome["job"][axis] for axis in AXES]))
    scenes = list(dict.fromkeys(outcome["job"]["scene"] for outcome in part.outcomes))
    heads = [(position, pattern) for position in POSITIONS for pattern in PATTERNS]
    head = "".join(f"<th>{position}<br>{pattern}</th>" for position, pattern in heads)
    rows = []
    for scene in sorted(scenes):
        for distance in DISTANCES:
            found = [cells.get(json.dumps([scene, distance, position, pattern]), []) for position, pattern in heads]
            if any(found):
                line = "".join(
                    _cell(part, some, dict(zip(AXES, (scene, distance, *head), strict=True)))
                    for some, head in zip(found, heads, strict=True)
                )
                rows.append(f"<tr><th>{escape(scene)} {distance}</th>{line}</tr>")
    return (
        f"<div class='scroll'><table class='matrix'><thead><tr><th>scene, distance</th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div><p class='quiet'>Click a cell to copy the command that runs it again.</p>"
    )


def _cell(part: Part, some: list[Outcome], where: dict[str, str]) -> Html:
    if not some:
        return "<td class='none'></td>"
    row = summarise(some)
    low, high = row["interval"]
    kind = "full" if row["ok"] == row["runs"] else "zero" if row["ok"] == 0 else "part"
    reasons = ", ".join(f"{reason} {count}" for reason, count in row["failures"].items())
    command, title = escape(part.command(**where), quote=True), escape(reasons, quote=True) or "all succeeded"
    return (
        f"<td class='{kind}'><button type='button' data-copy=\"{command}\" title=\"{title}\">"
        f"{row['ok']}/{row['runs']}</button><div class='quiet'>{low:.0%} to {high:.0%}</div></td>"
    )


# ---------------------------------------------------------------------- pictures


def _world(outcome: Outcome) -> str:
    job = {name: value for name, value in outcome["job"].items() if name not in ("policy", "camera")}
    return json.dumps(job)


def _worlds(parts: list[Part]) -> Html:
    """Draw the same worlds with the ways of all policies."""
    blocks = []
    for name in dict.fromkeys(part.name for part in parts):
        some = [part for part in parts if part.name == name]
        if len(some) < 2:
            continue
        ways = [{_world(outcome): outcome for outcome in part.outcomes if outcome.get("trace")} for part in some]
        keys = [key for key in ways[0] if any(key in other for other in ways[1:])]
        keys.sort(key=lambda key: all(way[key]["ok"] for way in ways if key in way))  # where they differ or fail comes first
        figures = []
        for key in keys[:WORLDS_SHOWN]:
            found = [way.get(key) for way in ways]
            job = Job.from_json(json.dumps(next(one for one in found if one is not None)["job"]))
            picture = paths_svg(job, [one["trace"] if one else [] for one in found], 280)
            words = " ".join(
                f"<span class='key p{index % 6}'>{escape(part.who)} {_mark(one)}</span>"
                for index, (part, one) in enumerate(zip(some, found, strict=True))
            )
            figures.append(f"<figure>{picture}<figcaption>{_place(job.to_dict())}<br>{words}</figcaption></figure>")
        blocks.append(f"<h3>{escape(name)}</h3><div class='gallery'>{''.join(figures)}</div>")
    body = "".join(blocks) or "<p class='quiet'>One policy only: name several with --policy to see them here.</p>"
    return f"<section id='worlds'><h2>Side by side</h2>{body}</section>"


def _mark(outcome: Outcome | None) -> Html:
    if outcome is None:
        return "&ndash;"
    return "✓" if outcome["ok"] else f"✗ {escape(outcome['failure'])}"


def _gallery(parts: list[Part]) -> Html:
    blocks = []
    for part in parts:
        traced = [outcome for outcome in part.outcomes if outcome.get("trace")]
        if not traced:
            continue
        step = max(1.0, len(traced) / RUNS_SHOWN)
        shown = [traced[int(index * step)] for index in range(min(RUNS_SHOWN, len(traced)))]
        figures = "".join(_thumb(outcome) for outcome in shown)
        words = f"{len(shown)} of {len(traced)} runs" if len(shown) < len(traced) else f"{len(traced)} runs"
        blocks.append(
            f"<details{' open' if len(parts) == 1 else ''}><summary>{escape(part.name)}, {escape(part.who)}: {words}</summary>"
            f"<div class='gallery'>{figures}</div></details>"
        )
    return f"<section id='runs'><h2>Ways and velocities</h2>{_legend()}{''.join(blocks)}</section>"


def _thumb(outcome: Outcome) -> Html:
    raw = outcome["job"]
    job = Job.from_json(json.dumps(raw))
    good = "good" if outcome["ok"] else "bad"
    goal = escape(raw["goal"])
    time_s = outcome["result"]["time_s"]
    return (
        f"<figure class='{good}'>{path_svg(job, outcome['trace'], 200)}{velocity_svg(outcome['trace'], 200, 48)}"
        f"<figcaption>{_mark(outcome)} {time_s:.1f} s, {_place(raw)}<br><i>{goal}</i></figcaption></figure>"
    )


def _again(entries: Iterable[dict[str, Any]]) -> Html:
    rows = []
    for entry in entries:
        versions = [json.loads(text) for text in entry["versions"]]
        words = "; ".join(f"code {version['code']}, weights {version['policy']}" for version in versions) or "unknown"
        mixed = " <b class='bad'>several versions are mixed</b>" if len(versions) > 1 else ""
        rows.append(
            f"<tr><th>{escape(entry['scenario'])}, {escape(entry['who'])}</th><td>seeds {escape(entry['seeds'])}<br>"
            f"<span class='quiet'>{escape(words)}</span>{mixed}</td><td>{_command(entry['again'])}</td></tr>"
        )
    return (
        "<section id='again'><h2>Run again</h2><p>With the same code and weights, each run's <code>result</code> comes out the "
        "same, bit for bit, on the same machine. Cells of the tables and failures have commands of their own.</p>"
        f"<div class='scroll'><table><tbody>{''.join(rows)}</tbody></table></div></section>"
    )
