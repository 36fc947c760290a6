"""The machine's memory is read as the kernel says it; what a kernel lacks is None."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from vla_bt.memory.system import Gpu, read_system

MEMINFO = "MemTotal: 1000000 kB\nMemFree: 1 kB\nMemAvailable: 400000 kB\nBuffers: 1 kB\nSwapTotal: 2000 kB\nSwapFree: 500 kB\n"


def test_the_numbers_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "pressure").write_text("some avg10=1.50 avg60=0.00 total=1\nfull avg10=0.25 avg60=0.00 total=1\n")
    found = read_system(tmp_path / "meminfo", tmp_path / "pressure")
    assert found.total_mb == pytest.approx(1024.0)
    assert found.available_mb == pytest.approx(409.6)
    assert found.swap_used_mb == pytest.approx(1.536)
    assert (found.stalled_some, found.stalled_full) == (1.5, 0.25)


@pytest.mark.parametrize("text", [None, "", "nonsense"])
def test_a_kernel_without_pressure(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    if text is not None:
        (tmp_path / "pressure").write_text(text)
    found = read_system(tmp_path / "meminfo", tmp_path / "pressure")
    assert (found.stalled_some, found.stalled_full) == (None, None)


def test_this_machine() -> None:
    assert read_system().total_mb == pytest.approx(psutil.virtual_memory().total / 1e6)


def test_a_gpu_says_something_sensible_or_nothing() -> None:
    found = Gpu().read()
    assert found is None or 0.0 <= found.used_mb <= found.total_mb
