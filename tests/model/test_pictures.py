"""Pictures become tensors that nobody else holds."""

import numpy as np
import pytest

from model.errors import FrameShapeError
from model.pictures import picture_tensor


def test_a_read_only_picture_is_copied() -> None:
    rgb = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    rgb.setflags(write=False)
    tensor = picture_tensor(rgb)
    assert tensor.shape == (1, 2, 3, 3)
    tensor.zero_()
    assert rgb[-1, -1, -1] == 17


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_named(rgb: np.ndarray) -> None:
    with pytest.raises(FrameShapeError, match="frame 7 is"):
        picture_tensor(rgb, where="frame 7")
