"""The MCAP reader of ROS 2 finds every frame, velocity and text again, in standard messages that the file itself defines."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from vla_bt.cli.main import main
from vla_bt.episodes.export_mcap import export_mcap
from vla_bt.episodes.export_messages import definition
from vla_bt.episodes.format import EpisodeInfo, EpisodeWriter, FrameSample, load
from vla_bt.episodes.units import KEY_UNITS

Make = Callable[..., FrameSample]
Clock = Callable[[], datetime]


@pytest.fixture
def episode(tmp_path: Path, at_noon: Clock, make_sample: Make) -> Path:
    writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("1box_vert_left", frame_period_s=1.0), 24, 32)
    for index in range(18):
        odometry = {"odometry": None} if index == 4 else {}
        writer.append(make_sample(index, commanded_s=50.02 + index, applied_s=50.03 + index, **odometry))
    return writer.finish()


def messages(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    with path.open("rb") as file:
        for each in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages():
            found[each.channel.topic].append(each.decoded_message)
    return found


def test_every_frame_comes_back(episode: Path, tmp_path: Path) -> None:
    source = load(episode)
    found = messages(export_mcap(source, tmp_path / "a.mcap"))
    images = found["/camera/image/compressed"]
    assert len(images) == 18
    for index, message in enumerate(images):
        picture = cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR_RGB)
        assert picture is not None
        assert np.abs(picture.astype(int) - source.images[index])[16:].max() <= 6
        assert message.format == "jpeg"
    stamps = [message.header.stamp for message in images]
    assert [stamp.sec for stamp in stamps] == [10**9 + index for index in range(18)]


def test_velocities_odometry_and_words_come_back(episode: Path, tmp_path: Path) -> None:
    source = load(episode)
    found = messages(export_mcap(source, tmp_path / "a.mcap"))
    commanded = [message.twist for message in found["/commanded"]]
    assert [each.linear.x for each in commanded] == pytest.approx(source.columns["commanded"][:, 0])
    assert [each.angular.z for each in commanded] == pytest.approx(source.columns["commanded"][:, 2])
    assert found["/applied"][0].header.frame_id == "base_link"
    assert len(found["/odom"]) == 17  # one frame has none
    pose = found["/odom"][2].pose.pose
    assert (pose.position.x, pose.orientation.z) == pytest.approx((2.0, math.sin(0.05)))
    assert [message.data for message in found["/goal"]] == ["go around the box on the left to the cup"]
    assert [message.data for message in found["/mode"]] == ["vla"]
    assert [message.data for message in found["/source"]] == ["policy"]
    assert [message.data for message in found["/event"]] == source.columns["action_event_types"].tolist()


def test_times_are_utc_and_in_order(episode: Path, tmp_path: Path, at_noon: Clock) -> None:
    path = export_mcap(load(episode), tmp_path / "a.mcap")
    with path.open("rb") as file:
        times = [message.log_time for _, _, message in make_reader(file).iter_messages(log_time_order=False)]
    assert times == sorted(times)
    assert times[0] / 1e9 == pytest.approx(at_noon().timestamp(), abs=0.1)
    assert (times[-1] - times[0]) / 1e9 == pytest.approx(17.0, abs=0.1)


def test_the_file_defines_its_messages_and_carries_the_attributes(episode: Path, tmp_path: Path) -> None:
    path = export_mcap(load(episode), tmp_path / "a.mcap")
    with path.open("rb") as file:
        reader = make_reader(file)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert summary is not None
        assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}
        assert {channel.message_encoding for channel in summary.channels.values()} == {"cdr"}
        names = {schema.name for schema in summary.schemas.values()}
        assert {"sensor_msgs/msg/CompressedImage", "geometry_msgs/msg/TwistStamped", "nav_msgs/msg/Odometry"} <= names
        (metadata,) = reader.iter_metadata()
    assert (metadata.name, metadata.metadata["scenario"]) == ("episode", "1box_vert_left")


def test_key_presses_are_no_velocities(episode: Path, tmp_path: Path) -> None:
    with h5py.File(episode, "a") as file:
        file["actions"].attrs["units"] = KEY_UNITS
    found = messages(export_mcap(load(episode), tmp_path / "a.mcap"))
    assert len(found["/key_direction"]) == 18
    assert "/commanded" not in found
    assert "/applied" not in found


def test_definitions_are_those_of_ros() -> None:
    sensor_msgs = pytest.importorskip("sensor_msgs.msg")
    geometry_msgs = pytest.importorskip("geometry_msgs.msg")
    nav_msgs = pytest.importorskip("nav_msgs.msg")
    kinds = (
        ("sensor_msgs/CompressedImage", sensor_msgs.CompressedImage),
        ("geometry_msgs/TwistStamped", geometry_msgs.TwistStamped),
        ("geometry_msgs/Vector3Stamped", geometry_msgs.Vector3Stamped),
        ("nav_msgs/Odometry", nav_msgs.Odometry),
    )
    for name, kind in kinds:
        own = [line.split()[1] for line in definition(name).split("=" * 80)[0].splitlines() if line]
        assert own == list(kind.get_fields_and_field_types())


def test_the_verb_writes_a_file_for_each_and_nothing_else(
    episode: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bags"
    assert main(["episodes", "export", str(episode), "--to", "mcap", "--out", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == [f"{episode.stem}.mcap"]
    assert capsys.readouterr().out == f"wrote 1 episodes, 18 frames to {out}\n"
    (tmp_path / "bad.h5").write_bytes(b"x")
    assert main(["episodes", "export", str(tmp_path / "bad.h5"), "--to", "mcap", "--out", str(out)]) == 2
    assert capsys.readouterr().err.endswith("bad.h5: not a readable HDF5 file\n")
    assert len(list(out.iterdir())) == 1
