"""The run log's benchmark measures a driving robot and says what it found."""

from __future__ import annotations

import json

import pytest

from vla_bt.cli.main import main


def test_it_measures_ticks_and_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["bench", "log", "--ticks", "100", "--json"])
    report = json.loads(capsys.readouterr().out)
    timing = report["timing"]
    assert code == (0 if timing["aim_met"] else 1)
    assert timing["dropped"] == 0
    assert timing["with_log_cpu"]["n"] == timing["without_cpu"]["n"] == 100
    assert 0.5 < report["result"]["mb_per_hour"] < 100.0
    assert timing["added_cpu_p50_ms"] < 1.0, "a hand-over, no more"


def test_too_few_ticks_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "log", "--ticks", "3"])
    assert ended.value.code == 2
    assert "from 100 to 20000" in capsys.readouterr().err
