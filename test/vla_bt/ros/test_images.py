"""Pictures come out of messages as they went in, or are refused with the reason."""

import array

import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg")

from sensor_msgs.msg import Image

from vla_bt.camera.lens import Lens
from vla_bt.ros.images import ImageError, camera_info_of, lens_from, message_of, pixels_of


def random_pixels(width: int = 13, height: int = 7) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def message(**changes: object) -> Image:
    made = message_of(random_pixels(), 1.0, "camera")
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_there_and_back() -> None:
    pixels = random_pixels()
    made = message_of(pixels, 1234567890.123456789, "camera")
    assert np.array_equal(pixels_of(made), pixels)
    assert (made.encoding, made.width, made.height, made.step) == ("rgb8", 13, 7, 39)
    assert made.header.stamp.sec == 1234567890
    assert abs(made.header.stamp.nanosec - 123456789) < 300, "as fine as a float can tell"


def test_bgr_and_padded_rows_become_rgb() -> None:
    pixels = random_pixels()
    swapped = message(encoding="bgr8", data=array.array("B", pixels[..., ::-1].tobytes()))
    assert np.array_equal(pixels_of(swapped), pixels)
    padded = np.full((7, 48), 99, np.uint8)
    padded[:, :39] = pixels.reshape(7, 39)
    assert np.array_equal(pixels_of(message(step=48, data=array.array("B", padded.tobytes()))), pixels)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"encoding": "mono8"}, "encoding 'mono8'; expected rgb8 or bgr8"),
        ({"encoding": ""}, "encoding ''"),
        ({"encoding": "x" * 10_000}, "encoding 'x{40}'"),
        ({"width": 0}, "0x7"),
        ({"height": 0}, "13x0"),
        ({"height": 8}, "expected rows of at least 39 bytes"),
        ({"step": 38}, "rows of 38 bytes"),
        ({"step": 2**32 - 1}, "rows of 4294967295 bytes"),
        ({"width": 2**32 - 1, "height": 2**32 - 1}, "4294967295x4294967295"),
        ({"data": array.array("B")}, "0 bytes in all"),
        ({"data": array.array("B", bytes(272))}, "272 bytes in all"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        pixels_of(message(**changes))


@pytest.mark.parametrize("focal", [0.0, -1.0, float("nan"), float("inf")])
def test_a_camera_without_a_calibration_has_no_lens(focal: float) -> None:
    info = camera_info_of(Lens(0.5, 0.3), message())
    assert lens_from(info) == pytest.approx((0.5, 0.3))
    info.k = np.array([focal, *info.k[1:]])
    with pytest.raises(ImageError, match="is no calibration"):
        lens_from(info)
