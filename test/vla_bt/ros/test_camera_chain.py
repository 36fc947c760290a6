"""Camera to ring over real processes: the simulated robot's and a video's frames arrive whole, in time and in order."""

from __future__ import annotations

import array
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import Twist as TwistMessage  # noqa: E402
from geometry_msgs.msg import Vector3  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import BatteryState, CameraInfo, Image, LaserScan  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from vla_bt.camera.lens import UNKNOWN, Lens, lens_of  # noqa: E402
from vla_bt.camera.ring import FrameRingReader, ring_path  # noqa: E402
from vla_bt.port import FrameInfo  # noqa: E402
from vla_bt.ros import qos  # noqa: E402
from vla_bt.ros.images import camera_info_of, message_of  # noqa: E402
from vla_bt.sim.scenes import make_scene  # noqa: E402
from vla_bt.sim.truth import TruthReader  # noqa: E402

pytestmark = pytest.mark.ros

ARRIVAL_S = 20.0  # a start, and finding each other, on a busy machine


def shared_segments(pid: int) -> set[str]:
    """Return the transport's shared-memory segments that a process maps."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # gone, or not ours to look at
        return set()
    return set(re.findall(r"/dev/shm/fastrtps_[0-9a-f]{16}$", maps, re.MULTILINE))


class Bench:
    """Processes under test, and a node that watches them."""

    def __init__(self, context: Any, environment: dict[str, str], directory: Path) -> None:
        self.environment = {**environment, "VLA_BT_RUNTIME_DIR": str(directory)}
        self.directory = directory
        self.context = context
        self.node = rclpy.create_node("bench", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()
        self.processes: list[subprocess.Popen[str]] = []
        self.rows: dict[str, tuple[bytes, str]] = {}
        self.values: dict[str, dict[str, str]] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)
        self.reader = FrameRingReader(ring_path(directory))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for row in message.status:
            self.rows[row.name] = (row.level, row.message)
            self.values[row.name] = {entry.key: entry.value for entry in row.values}

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"vla_bt.ros.{name}", *arguments]
        process = subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def until(self, done: Callable[[], Any], what: str, seconds: float = ARRIVAL_S) -> Any:
        limit = time.monotonic() + seconds
        while not (found := done()):
            died = [process.args for process in self.processes if process.poll() not in (None, 0)]
            assert time.monotonic() < limit, f"waited in vain: {what}; died: {died}; diagnostics: {self.rows}"
            time.sleep(0.005)
        return found

    def frames(self, seconds: float) -> list[FrameInfo]:
        """Watch the ring."""
        seen: list[FrameInfo] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            info = self.reader.latest()
            if info is not None and (not seen or info.sequence != seen[-1].sequence):
                seen.append(info)
            time.sleep(0.004)
        return seen

    def end(self, processes: Sequence[subprocess.Popen[str]], number: int = signal.SIGINT) -> list[int]:
        for process in processes:
            process.send_signal(number)
        return [process.wait(timeout=10.0) for process in processes]

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a process and clear away the transport's shared memory that it can't clear away itself."""
        segments = shared_segments(process.pid)  # its own, and those of others that it reads
        process.kill()
        process.wait()
        for other in Path("/proc").glob("[0-9]*"):
            segments -= shared_segments(int(other.name))
        for segment in segments:
            for name in (segment, f"{segment}_el"):
                Path(name).unlink(missing_ok=True)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)
            assert process.stderr is not None
            process.stderr.close()
        self.executor.shutdown(timeout_sec=2.0)
        self.thread.join(timeout=2.0)
        self.node.destroy_node()
        self.reader.close()


@pytest.fixture
def bench(ros_context: Any, ros_environment: dict[str, str], runtime_dir: Path) -> Iterator[Bench]:
    made = Bench(ros_context, ros_environment, runtime_dir)
    yield made
    made.close()


def twist(x: float) -> TwistMessage:
    message = TwistMessage()
    message.linear.x = x
    return message


@pytest.mark.sim
def test_the_simulated_robot_is_a_robot_over_ros(bench: Bench) -> None:
    """One start for all of it: frames, inputs, driving, time-out, contact, camera faults, reset, ending."""
    node = bench.node
    arrivals: dict[str, list[float]] = {}
    newest: dict[str, Any] = {}
    for topic, kind in {"odom": Odometry, "scan": LaserScan, "battery_state": BatteryState, "contact": Vector3}.items():
        arrivals[topic] = []

        def heard(message: Any, topic: str = topic) -> None:
            arrivals[topic].append(time.monotonic())
            newest[topic] = message

        node.create_subscription(kind, topic, heard, qos.SENSOR)
    velocity = node.create_publisher(TwistMessage, "cmd_vel", qos.CMD_VEL)
    sim = bench.start("sim_node", "--scene", "1box_hori_left", "--seed", "3")
    bridge = bench.start("camera_bridge")
    bench.until(lambda: bench.reader.latest(), "a first frame")
    bench.until(lambda: len(newest) >= 3, "odom, scan and battery_state")

    parameters = node.create_client(SetParameters, "sim/set_parameters")
    assert parameters.wait_for_service(timeout_sec=ARRIVAL_S)

    def set_fault(fault: str) -> bool:
        value = Parameter("camera_fault", value=fault).to_parameter_msg()
        answer = parameters.call(SetParameters.Request(parameters=[value]), timeout_sec=ARRIVAL_S)
        return answer is not None and answer.results[0].successful

    # frames: what is published arrives
    def published() -> int:
        """Stop the camera, and return how many frames it has published."""
        assert set_fault("lost")
        bench.values.clear()
        bench.until(lambda: bench.values.get("/sim", {}).get("camera_hz") == "0.0", "a camera at rest")
        return int(bench.values["/sim"]["frames"])

    published_before, newest_before = published(), bench.reader.latest()
    assert set_fault("none")
    frames = bench.frames(3.0)
    sent, last = published() - published_before, bench.reader.latest()
    assert newest_before is not None
    assert last is not None
    received = last.sequence - newest_before.sequence
    assert sent >= 22, "half of 15 Hz even on a busy machine"
    assert received >= 0.95 * sent, f"{received} of {sent} frames reached the ring"
    assert len(frames) >= 0.95 * received, "a reader that looks often sees them all"
    assert set_fault("none")
    assert (last.width, last.height) == (1280, 720)
    assert last.lens == pytest.approx(lens_of(make_scene("1box_hori_left", seed=3).camera.fovy_deg, 1280, 720), rel=1e-5)
    lags = [info.received_s - info.stamp_s for info in frames]
    assert max(lags) - min(lags) < 0.2, "none waited anywhere"
    assert len({info.signature for info in frames}) == 1, "nothing moved, nothing flickered"
    pixels = bench.reader.copy(last.sequence)
    assert pixels is not None
    assert pixels.std() > 20, "a picture, not a plain colour"

    # inputs at their rates
    for topic, rate_hz in (("odom", 50), ("scan", 20)):
        times = [at for at in arrivals[topic] if at > time.monotonic() - 3.0]
        assert len(times) >= 0.85 * rate_hz * 3.0, topic
    assert newest["battery_state"].percentage == 1.0
    scan = newest["scan"]
    ahead = scan.ranges[round(-scan.angle_min / scan.angle_increment)]
    truth = bench.until(TruthReader(bench.directory / "truth.mmap", time.monotonic), "the truth")
    assert 0.5 < ahead < truth.boxes[0].x + 0.5

    # driving, and stopping by itself in silence
    def drive(distance_m: float) -> None:
        def there() -> bool:
            velocity.publish(twist(0.4))
            time.sleep(0.02)
            return bool(newest["odom"].pose.pose.position.x > distance_m)

        bench.until(there, f"{distance_m} m forward")

    bench.until(velocity.get_subscription_count, "the base hears cmd_vel")
    velocity.publish(twist(math.nan))
    drive(0.25)
    silent_s = time.monotonic()
    bench.until(lambda: abs(newest["odom"].twist.twist.linear.x) < 0.01, "it stops by itself", 5.0)
    assert time.monotonic() - silent_s < 2.0
    bench.until(lambda: bench.reader.latest().signature != frames[-1].signature, "another view")  # type: ignore[union-attr]

    # a wall of cardboard
    bench.until(lambda: (velocity.publish(twist(0.6)), arrivals["contact"])[1], "a contact", 15.0)
    assert newest["contact"].x > 0.7, "it is ahead"

    # camera faults
    assert not set_fault("dirty")
    assert set_fault("lost")
    time.sleep(0.3)
    assert len(bench.frames(0.5)) <= 1, "only the last one is still to be seen"
    assert set_fault("none")
    bench.until(lambda: len(bench.frames(0.5)) >= 3, "frames again")

    assert set_fault("frozen")
    time.sleep(0.3)

    # back to the start; a frozen camera does not see it
    reset = node.create_client(Trigger, "sim/reset")
    assert reset.wait_for_service(timeout_sec=ARRIVAL_S)
    answer = reset.call(Trigger.Request(), timeout_sec=ARRIVAL_S)
    assert answer is not None
    assert answer.success
    bench.until(lambda: abs(newest["odom"].pose.pose.position.x) < 0.05, "the start")
    still = bench.until(lambda: found if len(found := bench.frames(0.5)) >= 3 else None, "frames of a frozen camera")
    assert len({info.signature for info in still}) == 1
    assert still[0].signature != frames[0].signature
    assert set_fault("none")
    bench.until(lambda: bench.reader.latest().signature == frames[0].signature, "the view from the start")  # type: ignore[union-attr]

    assert bench.end([sim, bridge]) == [0, 0]
    assert list(bench.directory.iterdir()) == [], "nothing is left behind"


def test_a_video_is_published_whole_and_ends(bench: Bench, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (640, 480))
    for index in range(40):
        writer.write(np.full((480, 640, 3), (0, 0, 6 * index), np.uint8))
    writer.release()
    bridge = bench.start("camera_bridge")
    bench.until(lambda: "no frame yet" in bench.reader.problem or not bench.reader.latest(), "a ring")
    pictures: list[np.ndarray] = []
    headers: list[Any] = []

    def heard(message: Image) -> None:
        headers.append(message.header)
        pictures.append(np.frombuffer(message.data, np.uint8).reshape(720, 1280, 3)[::60, ::60].copy())

    bench.node.create_subscription(Image, "camera/image", heard, qos.IMAGE)
    camera = bench.start("camera_node", "--source", str(tmp_path / "a.avi"), "--rate", "20", "--fovy", "45")
    assert camera.wait(timeout=ARRIVAL_S) == 0, "at the file's end the node ends"
    reds = [round(float(picture[:, 10, 0].mean()) / 6) for picture in pictures]
    assert reds == sorted(reds)
    assert len(reds) >= 25, "what came before the two had found each other is lost"
    assert reds[-1] == 39
    assert all(picture[:, 0].max() == 0 for picture in pictures), "4:3 stands between black bars"
    assert {header.frame_id for header in headers} == {"camera"}
    stamps = [header.stamp.sec + 1e-9 * header.stamp.nanosec for header in headers]
    assert abs(stamps[-1] - time.time()) < 5.0
    assert np.median(np.diff(stamps)) == pytest.approx(0.05, abs=0.02)
    info = bench.until(lambda: bench.reader.latest(), "the last frame in the ring")
    assert (info.width, info.height) == (1280, 720)
    assert info.lens == pytest.approx(lens_of(45.0, 1280, 720), rel=1e-5)
    assert bench.end([bridge], signal.SIGTERM) == [0]


def test_a_calibration_counts_for_the_frames_it_belongs_to(bench: Bench) -> None:
    bridge = bench.start("camera_bridge")
    images = bench.node.create_publisher(Image, "camera/image", qos.IMAGE)
    infos = bench.node.create_publisher(CameraInfo, "camera/camera_info", qos.IMAGE)
    bench.until(lambda: images.get_subscription_count() and infos.get_subscription_count(), "the bridge")
    image = message_of(np.full((48, 64, 3), 7, np.uint8), 5.0, "camera")
    lens = Lens(0.75, 0.5)

    def newest(info: CameraInfo | None) -> FrameInfo | None:
        if info is not None:
            infos.publish(info)
        images.publish(image)
        return bench.reader.latest()

    def told(words: str) -> bool:
        row = bench.rows.get("/camera_bridge", (b"", ""))
        return words in row[1] or words in bench.values.get("/camera_bridge", {}).get("fovy_deg", "")

    found = bench.until(lambda: newest(None), "a frame without a calibration")
    assert found.lens == UNKNOWN
    bench.until(lambda: (newest(None), told("unknown"))[1], "that it isn't known")
    good = camera_info_of(lens, image)
    bench.until(lambda: (info := newest(good)) and info.lens == lens, "a frame with it")
    bench.until(lambda: (newest(good), told("53.1"))[1], "the field of view in the diagnostics")
    cut = camera_info_of(lens, image)
    cut.height = 64
    bench.until(lambda: (info := newest(cut)) and info.lens == UNKNOWN, "a calibration of another part of the sensor")
    bench.until(lambda: (newest(cut), told("not of frames of 64x48"))[1], "why")
    none = CameraInfo(width=64, height=48)
    bench.until(lambda: (newest(none), told("is no calibration"))[1], "what an uncalibrated driver sends")
    assert bench.end([bridge]) == [0]


def test_pictures_that_do_not_fit_never_reach_the_ring(bench: Bench) -> None:
    bridge = bench.start("camera_bridge", "--ros-args", "-p", "max_width:=64", "-p", "max_height:=48")
    publisher = bench.node.create_publisher(Image, "camera/image", qos.IMAGE)
    bench.until(lambda: publisher.get_subscription_count() > 0, "the bridge")
    good = message_of(np.full((48, 64, 3), 7, np.uint8), 5.0, "camera")
    bench.until(lambda: (publisher.publish(good), bench.reader.latest())[1], "a good frame")
    cases: dict[str, dict[str, Any]] = {
        "encoding 'mono8'": {"encoding": "mono8"},
        "bytes in all": {"data": array.array("B", bytes(10))},
        "larger than": {"width": 65, "step": 195, "data": array.array("B", bytes(195 * 48))},
    }
    for words, changes in cases.items():
        bad = message_of(np.full((48, 64, 3), 200, np.uint8), 5.0, "camera")
        for name, value in changes.items():
            setattr(bad, name, value)

        def refused(words: str = words, bad: Image = bad) -> bool:
            publisher.publish(bad)
            level, message = bench.rows.get("/camera_bridge", (b"\0", ""))
            return level == b"\2" and words in message

        bench.until(refused, words)
    newest = bench.reader.latest()
    assert newest is not None
    copy = bench.reader.copy(newest.sequence)
    assert copy is not None
    assert copy.max() == 7

    # killed and restarted: the ring goes on counting
    bench.kill(bridge)
    assert bench.reader.latest() == newest, "what was whole stays readable"
    bridge = bench.start("camera_bridge")
    info = bench.until(
        lambda: (publisher.publish(good), now if (now := bench.reader.latest()) and now.sequence > newest.sequence else None)[1],
        "a frame after the restart",
    )
    assert info.received_s > newest.received_s
    assert bench.end([bridge]) == [0]


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("camera_node", ["--source", "absent.mp4"], "is no file or folder"),
        ("camera_bridge", ["--ros-args", "-p", "slots:=1"], "slots is 1; expected 2 to 32"),
        ("camera_bridge", ["--ros-args", "-p", "slot:=4"], "unknown setting 'slot'"),
        ("sim_node", ["--ros-args", "-p", "scene:=3box"], "unknown scene '3box'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(bench: Bench, name: str, arguments: list[str], words: str) -> None:
    process = bench.start(name, *arguments)
    assert process.wait(timeout=ARRIVAL_S) == 2
    assert process.stderr is not None
    lines = process.stderr.read().strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]


def test_the_bridge_needs_little(ros_environment: dict[str, str]) -> None:
    program = (
        "import sys, vla_bt.ros.camera_bridge; sys.exit(' '.join({'torch', 'py_trees', 'cv2', 'mujoco'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], env={**os.environ}, check=False).returncode == 0
