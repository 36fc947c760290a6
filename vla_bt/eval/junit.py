"""A report as JUnit XML, for machines that show test results: a suite for each scenario with each policy, a case for each run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable

from vla_bt.eval.report import Part, job_command

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _legal(text: str) -> str:
    """Leave out the characters that XML can't hold in any form."""
    return _FORBIDDEN.sub("\ufffd", text)


def junit_xml(parts: Iterable[Part]) -> str:
    """Return the document."""
    root = ElementTree.Element("testsuites", name="vla-bt eval")
    for part in parts:
        failed = [outcome for outcome in part.outcomes if not outcome["ok"]]
        crashed = sum(outcome["failure"] == "crashed" for outcome in failed)
        wall_s = sum(outcome["timing"].get("wall_s", 0.0) for outcome in part.outcomes)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_legal(f"{part.name} {part.policy}"),
            tests=str(len(part.outcomes)),
            failures=str(len(failed) - crashed),
            errors=str(crashed),
            time=f"{wall_s:.3f}",
        )
        for outcome in part.outcomes:
            job, result = outcome["job"], outcome["result"]
            name = " ".join(str(job[word]) for word in ("scene", "distance", "position", "pattern", "seed", "cell"))
            took = f"{outcome['timing'].get('wall_s', 0.0):.3f}"
            case = ElementTree.SubElement(
                suite, "testcase", classname=_legal(f"{part.name}.{part.policy}"), name=_legal(name), time=took
            )
            if outcome["ok"]:
                continue
            kind = "error" if outcome["failure"] == "crashed" else "failure"
            body = ElementTree.SubElement(case, kind, message=_legal(outcome["failure"]))
            lines = [f"goal: {job['goal']}", f"again: {job_command(job)}"]
            if result:
                lines.append(
                    f"goal {result['goal_state']}, {result['cup_distance_m']:.2f} m from it after {result['time_s']:.1f} s"
                )
                lines.append(f"contact: {result['contact'] or 'none'}")
            lines.append(outcome.get("error", ""))
            lines += [f"the tree at {moment}:\n{text}" for moment, text in outcome.get("tree", {}).items()]
            body.text = _legal("\n".join(lines))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
