"""Whatever a file is, opening it ends soon: with its data or with one line; and nothing but the file itself is read."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from vla_bt.episodes import opening
from vla_bt.episodes.opening import EpisodeError, read

DATA = Path(__file__).parent / "data"


def original(path: Path, frames: int = 18) -> Path:
    """Write a small file of the original format."""
    with h5py.File(path, "w") as file:
        file["images"] = np.arange(frames * 6 * 8 * 3, dtype=np.uint8).reshape(frames, 6, 8, 3)
        file["actions"] = np.zeros((frames, 3), np.float32)
        file["action_event_types"] = ["episode_start"] + ["start_action"] * (frames - 1)
        file.attrs.update(episode_name=path.stem, num_frames=frames, total_duration=18.8, scenario="1box_vert_left")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(EpisodeError) as caught:
        read(path)
    words = str(caught.value)
    assert words.startswith(f"{path}: ")
    assert words.isprintable()
    assert len(words) < 400
    return words.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "episode.h5"


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Make a pipe: whoever opens it for reading waits for ever."""
    pipe = tmp_path / "trap.h5"
    os.mkfifo(pipe)
    return pipe


def test_everything_in_a_good_file_comes_back(path: Path) -> None:
    content = read(original(path))
    assert content.attributes["num_frames"] == 18
    assert content.attributes["total_duration"] == 18.8
    assert content.images is not None
    with h5py.File(path) as file:
        assert np.array_equal(content.images, file["images"][:])
    assert content.columns["actions"].dtype == np.float32
    assert list(content.columns["action_event_types"][:2]) == ["episode_start", "start_action"]
    assert content.size_bytes == path.stat().st_size


@pytest.mark.parametrize("packed", [{"compression": "gzip"}, {"compression": "lzf"}, {"compression": "gzip", "shuffle": True}])
def test_packed_pictures_come_back(path: Path, packed: dict[str, object]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 6, 8, 3), np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, chunks=(1, 6, 8, 3), fletcher32=True, **packed)
    back = read(path).images
    assert back is not None
    assert np.array_equal(back, images)


def test_pictures_kept_as_jpegs_come_back_in_true_colours(path: Path) -> None:
    picture = np.zeros((24, 32, 3), np.uint8)
    picture[...] = (200, 100, 50)
    blobs = [cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1] for _ in range(3)]
    with h5py.File(path, "w") as file:
        file["images_jpeg"] = np.concatenate(blobs)
        file["images_jpeg_ends"] = np.cumsum([len(blob) for blob in blobs])
        file.attrs.update(image_height=24, image_width=32)
    images = read(path).images
    assert images is not None
    assert images.shape == (3, 24, 32, 3)
    assert np.abs(images.astype(int) - (200, 100, 50)).max() <= 3


def test_big_endian_numbers_and_truth_values_come_back(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["actions"] = np.array([[1.5, -2.0, 3.0]], ">f8")
        file["good"] = np.array([True, False])
    columns = read(path).columns
    assert columns["actions"].tolist() == [[1.5, -2.0, 3.0]]
    assert columns["good"].tolist() == [True, False]


def test_the_arrays_belong_to_whoever_read_them(path: Path) -> None:
    content = read(original(path))
    assert content.images is not None
    content.images[...] = 7
    fresh = read(path).images
    assert fresh is not None
    assert fresh[3].max() > 7


def test_without_the_images_they_are_described_all_the_same(path: Path) -> None:
    content = read(original(path), images=False)
    assert content.images is None
    assert content.parts["images"].shape == (18, 6, 8, 3)
    assert content.parts["images"].why == ""
    assert "actions" in content.columns


def test_units_are_told(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        file["actions"].attrs["units"] = "furlongs"
    parts = read(path).parts
    assert (parts["actions"].units, parts["images"].units) == ("furlongs", "")


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is empty (0 bytes)"),
        (b"no HDF5 at all", "not a readable HDF5 file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(2000), "not a readable HDF5 file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(2000), "not a readable HDF5 file: damaged"),
        (bytes(100_000), "not a readable HDF5 file"),
    ],
)
def test_what_is_no_hdf5(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    assert refusal(path) == words


def test_a_file_of_a_terabyte_of_nothing(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert refusal(path) == "not a readable HDF5 file"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_short_tells_how_short(path: Path, share: float) -> None:
    size = original(path).stat().st_size
    os.truncate(path, int(size * share))
    assert refusal(path) == f"cut short: {int(size * share)} of {size} bytes are there"


def test_a_file_that_is_being_written(path: Path) -> None:
    with h5py.File(path, "w"):
        assert refusal(path) == "is being written"


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = original(tmp_path / "target.h5")
    path.symlink_to(target)
    assert refusal(path) == "is a symbolic link; name the file itself"


def test_a_folder_a_pipe_a_device_and_nothing(path: Path, trap: Path) -> None:
    path.mkdir()
    assert refusal(path) == "is a folder; name one episode in it"
    assert refusal(trap) == "is no regular file"
    assert refusal(Path("/dev/zero")) == "is no regular file"
    assert refusal(path.parent / "none.h5") == "No such file or directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else(path: Path) -> None:
    original(path).chmod(0)
    assert refusal(path) == "Permission denied"


@pytest.mark.parametrize("name", ["images", "anything"])
def test_a_link_into_another_file_is_not_followed(path: Path, trap: Path, name: str) -> None:
    with h5py.File(original(path), "a") as file:
        file.pop(name, None)
        file[name] = h5py.ExternalLink(str(trap), "images")
    assert "is a link into another file" in refusal(path)


def test_a_soft_link_is_not_followed(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        file["round"] = h5py.SoftLink("/round")
    assert refusal(path) == "'round' is a link to '/round'; an episode has none, and it is not followed"


def test_pictures_assembled_from_other_files_are_not_read(path: Path, trap: Path) -> None:
    layout = h5py.VirtualLayout((18, 6, 8, 3), "u1", maxshape=(None, 6, 8, 3))
    layout[: h5py.h5s.UNLIMITED] = h5py.VirtualSource(str(trap), "images", (18, 6, 8, 3), maxshape=(None, 6, 8, 3))[
        : h5py.h5s.UNLIMITED
    ]
    with h5py.File(original(path), "a") as file:
        del file["images"]
        file.create_virtual_dataset("images", layout)
    assert "is assembled from other files" in refusal(path)


def test_pictures_stored_in_another_file_are_not_read(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1000))
    with h5py.File(original(path), "a") as file:
        del file["images"]
        file.create_dataset("images", (2, 6, 8, 3), "u1", external=[(str(secret), 0, 288)])
    assert "is stored in another file" in refusal(path)


@pytest.mark.parametrize("shape", [(18, 10**9, 1280, 3), (10**6, 720, 1280, 3), (1, 2**40, 2**20, 3), (200, 720, 1280, 3)])
def test_absurd_shapes_are_not_read(path: Path, shape: tuple[int, ...]) -> None:
    with h5py.File(original(path), "a") as file:
        del file["images"]
        file.create_dataset("images", shape, "u1", chunks=(1, 6, 8, 3))
    content = read(path)
    assert content.images is None
    assert content.parts["images"].why.startswith("would take ")
    assert content.parts["images"].why.endswith("at most 512 MB are read")


MEASURED = """
import resource, sys, time
from pathlib import Path
from vla_bt.episodes import opening
began = time.monotonic()
try:
    opening.read(Path(sys.argv[1]))
except opening.EpisodeError as error:
    print(error)
opening._reader.close()
print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024)
"""


def measured_refusal(path: Path) -> tuple[str, float]:
    """Return the refusal and the most memory that reading took, beside what it takes for a small file [MB]."""
    good = original(path.parent / "small.h5")
    peaks = []
    for each in (good, path):  # a child's peak includes what its parent had when it was forked: this process
        done = subprocess.run([sys.executable, "-c", MEASURED, str(each)], capture_output=True, text=True, timeout=60)
        peaks.append(float(done.stdout.splitlines()[-1]))
    return done.stdout.splitlines()[0].removeprefix(f"{path}: "), peaks[1] - peaks[0]


def test_a_chunk_that_unpacks_to_gigabytes_takes_no_memory(path: Path) -> None:
    """A chunk may hold more than the file says; the library would unpack all of it."""
    packer = zlib.compressobj(9)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = head + 256 * zeros + packer.flush()  # 4 GB
    with h5py.File(original(path), "a") as file:
        del file["images"]
        data = file.create_dataset("images", (18, 720, 1280, 3), "u1", chunks=(1, 720, 1280, 3), compression="gzip")
        data.id.write_direct_chunk((0, 0, 0, 0), bomb)
    words, memory = measured_refusal(path)
    assert words.startswith("damaged")
    assert memory < 200


def test_a_chunk_greater_than_its_dataset_is_not_read(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        file.create_dataset("stamps", (18,), "f8", chunks=(1 << 27,), maxshape=(None,), compression="gzip")
    assert read(path).parts["stamps"].why == "would take 1 GB; at most 16 MB are read"


def test_texts_of_many_megabytes_take_no_memory(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        del file["action_event_types"]
        file.create_dataset("action_event_types", data=["x" * (80 << 20)] * 2, dtype=h5py.string_dtype())
    words, memory = measured_refusal(path)
    assert words.startswith(("takes too much memory", "damaged"))
    assert memory < 200


def test_a_filter_nobody_knows_is_not_loaded(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        del file["images"]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((1, 6, 8, 3))
        plan.set_filter(32099, h5py.h5z.FLAG_OPTIONAL)
        file.create_dataset("images", (18, 6, 8, 3), "u1", dcpl=plan, chunks=(1, 6, 8, 3))
    assert read(path).parts["images"].why == "is packed by filter 32099, which is not known here"


def test_what_is_neither_numbers_nor_texts_is_left_out(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        file["pointers"] = np.array([file["images"].ref], dtype=h5py.ref_dtype)
        file["regions"] = np.array([file["images"].regionref[0]], dtype=h5py.regionref_dtype)
        file.create_dataset("ragged", (3,), h5py.vlen_dtype(np.int32))
        file["records"] = np.zeros(3, [("a", "i4"), ("b", "f8")])
        file["complex"] = np.zeros(3, np.complex64)
        file["single"] = 5.0
        file["deep"] = np.zeros((2, 2, 2))
        file["nothing"] = h5py.Empty("f4")
        file.create_group("folder")["inside"] = 1
        file.attrs["pointer"] = file["images"].ref
        file.attrs["long"] = np.zeros(3000)
    content = read(path)
    assert content.images is not None
    assert set(content.columns) == {"actions", "action_event_types"}
    odd = {name for name, part in content.parts.items() if part.why}
    assert odd == {"pointers", "regions", "ragged", "records", "complex", "single", "deep", "nothing", "folder"}
    assert len(content.notes) == 2


def test_wrong_kinds_of_pictures_are_told(path: Path) -> None:
    for images in (np.zeros((18, 6, 8, 3)), np.zeros((18, 6, 8), np.uint8), np.zeros((18, 6, 8, 4), np.uint8)):
        with h5py.File(original(path), "a") as file:
            del file["images"]
            file["images"] = images
        why = read(path).parts["images"].why
        assert why == f"are {images.shape} {images.dtype}, expected (n, height, width, 3) uint8"


def test_too_many_names_or_attributes(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        for number in range(200):
            file.attrs[f"a{number}"] = number
    assert "attributes; an episode has less than 100" in refusal(path)
    with h5py.File(original(path), "a") as file:
        for number in range(200):
            file[f"n{number}"] = number
    assert refusal(path) == "holds 203 names; an episode has less than 100"


def test_a_long_attribute_is_cut(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        file.attrs["goal"] = "é" * 20_000
    assert read(path).attributes["goal"] == "é" * 4096


def test_names_that_are_no_text(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        file.attrs["\x1b]0;owned\x07"] = "\x1b[31m"
    assert read(path).attributes["\x1b]0;owned\x07"] == "\x1b[31m"
    with h5py.File(original(path), "a") as file:
        file.id.links.create_hard(b"\xff", file.id, b"actions")
    assert refusal(path) == "holds a name that is no text"


def test_a_link_with_a_bell_in_its_name_is_told_harmlessly(path: Path) -> None:
    with h5py.File(original(path), "a") as file:
        file["\x1b[2J\u202e"] = h5py.SoftLink("\x07")
    assert refusal(path).startswith(r"'\x1b[2J\u202e' is a link to '\x07'")


def test_jpegs_that_lie(path: Path) -> None:
    done, blob = cv2.imencode(".jpg", np.zeros((24, 32, 3), np.uint8))
    assert done
    for size, ends, data, words in (
        ((24, 32), [len(blob) + 1], blob, "picture 0 lies outside images_jpeg"),
        ((24, 32), [10], blob, "picture 0 is no JPEG; expected 32 x 24"),
        ((48, 32), [len(blob)], blob, "picture 0 is 32 x 24; expected 32 x 48"),
    ):
        with h5py.File(path, "w") as file:
            file["images_jpeg"], file["images_jpeg_ends"] = data, ends
            file.attrs.update(image_height=size[0], image_width=size[1])
        assert refusal(path) == words


@pytest.mark.parametrize("name", ["endless.h5"])
def test_files_that_the_hdf5_library_does_not_survive(name: str, path: Path) -> None:
    """Found by changing single bytes of a good file; see ``DATA``."""
    path.write_bytes(zlib.decompress((DATA / f"{name}.z").read_bytes()))
    assert refusal(path).startswith("damaged: ")
    assert read(original(path)).attributes["num_frames"] == 18  # the next file is read as ever


def test_single_wrong_bytes(path: Path) -> None:
    good = original(path).read_bytes()
    rng = np.random.default_rng(4)
    refusals: list[str] = []
    for _ in range(60):
        bad = bytearray(good)
        for at in rng.integers(0, len(good), 3):
            bad[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        try:
            read(path)
        except EpisodeError as error:
            refusals.append(str(error))
    assert 5 < len(refusals) < 60
    assert all(words.isprintable() for words in refusals)


def test_a_reader_that_was_killed_is_replaced(path: Path) -> None:
    read(original(path))
    process = opening._reader._process
    assert process is not None
    process.kill()
    process.wait()
    assert read(path).attributes["num_frames"] == 18


def test_an_interrupted_reading_leaves_no_answer_for_the_next(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vla_bt.episodes.opening.socket.recv_fds", interrupted)
        opening._reader.close()
        with pytest.raises(KeyboardInterrupt):
            read(original(path))
    assert read(original(tmp_path / "other.h5", 3)).attributes["num_frames"] == 3


def test_threads_share_a_reader(tmp_path: Path) -> None:
    paths = [original(tmp_path / f"{count}.h5", count) for count in range(1, 13)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda each: read(each).attributes["num_frames"], paths)) == list(range(1, 13))


FORKED = """
import os, sys
from pathlib import Path
from vla_bt.episodes.opening import read
read(Path(sys.argv[1]))
child = os.fork()
counts = [read(Path(sys.argv[1])).attributes["num_frames"] for _ in range(20)]
if not child:
    sys.exit(0 if counts == [18] * 20 else 9)
print(counts == [18] * 20, os.waitpid(child, 0)[1])
"""


def test_a_forked_process_gets_its_own_reader(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKED, str(original(path))], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("True 0", "")
