"""The truth file: whole records or None, never old ones, private to its owner."""

import os
import struct
from pathlib import Path

import pytest

from vla_bt.sim.scenes import make_scene
from vla_bt.sim.truth import BoxTruth, Truth, TruthReader, TruthWriter
from vla_bt.sim.world import SimWorld


@pytest.fixture
def truth() -> Truth:
    return SimWorld(make_scene("2box_hori_right", seed=4)).truth()


def test_what_is_written_is_read(tmp_path: Path, truth: Truth) -> None:
    writer = TruthWriter(tmp_path / "truth")
    reader = TruthReader(tmp_path / "truth", clock=lambda: 10.1)
    assert reader() is None  # nothing written yet
    writer.write(truth, 10.0)
    assert reader() == truth
    assert oct(os.stat(tmp_path / "truth").st_mode & 0o777) == "0o600"


def test_an_old_record_is_none(tmp_path: Path, truth: Truth) -> None:
    now = 10.0
    writer = TruthWriter(tmp_path / "truth")
    reader = TruthReader(tmp_path / "truth", clock=lambda: now, max_age_s=0.5)
    writer.write(truth, 10.0)
    now = 10.5
    assert reader() == truth
    now = 10.6
    assert reader() is None
    writer.write(truth, 10.6)
    assert reader() == truth


def test_a_record_torn_by_a_killed_writer_is_none(tmp_path: Path, truth: Truth) -> None:
    path = tmp_path / "truth"
    writer = TruthWriter(path)
    writer.write(truth, 10.0)
    reader = TruthReader(path, clock=lambda: 10.0)
    assert reader() == truth
    with open(path, "r+b") as file:  # odd: a writer was in the middle of its next record
        file.seek(8)
        file.write(struct.pack("<Q", 3))
    assert reader() is None
    writer.write(truth, 10.0)
    assert reader() == truth


def test_the_reader_follows_a_new_writer(tmp_path: Path, truth: Truth) -> None:
    path = tmp_path / "truth"
    reader = TruthReader(path, clock=lambda: 10.0)
    assert reader() is None
    first = TruthWriter(path)
    first.write(truth, 10.0)
    assert reader() == truth
    second = TruthWriter(path)  # the first was killed and left its file
    assert reader() is None
    second.write(truth, 10.0)
    assert reader() == truth
    second.close()
    assert reader() is None
    assert not path.exists()


def test_a_file_that_is_no_truth_is_none(tmp_path: Path) -> None:
    (tmp_path / "truth").write_bytes(b"something else")
    assert TruthReader(tmp_path / "truth", clock=lambda: 0.0)() is None


def test_too_many_boxes_are_refused(tmp_path: Path, truth: Truth) -> None:
    crowd = Truth(**{**truth.__dict__, "boxes": (BoxTruth(0, 0, 1, 1, 0),) * 9})
    with pytest.raises(ValueError, match="9 boxes; a truth record holds 8"):
        TruthWriter(tmp_path / "truth").write(crowd, 0.0)
