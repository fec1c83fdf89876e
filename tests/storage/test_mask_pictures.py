from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import MaskError
from storage.mask_pictures import _plain_labels, read_mask_picture


def labels(height: int, width: int, most: int, seed: int = 0) -> np.ndarray:
    """Blocks of labels 0…most."""
    coarse = np.random.default_rng(seed).integers(0, most + 1, (height // 3 + 1, width // 3 + 1))
    return np.kron(coarse, np.ones((3, 3), int))[:height, :width].astype(np.uint8)


def palette(mask: np.ndarray) -> PIL.Image.Image:
    picture = PIL.Image.fromarray(mask.astype(np.uint8))
    picture.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    return picture


def save(picture: PIL.Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def read(data: bytes, folder: Path) -> np.ndarray:
    path = folder / "00000.png"
    path.write_bytes(data)
    return read_mask_picture(path)


KINDS = {
    "palette": lambda mask: save(palette(mask)),
    "palette of two colours": lambda mask: save(palette(mask > 0), bits=1),
    "palette of four colours": lambda mask: save(palette(np.minimum(mask, 3)), bits=2),
    "grey": lambda mask: save(PIL.Image.fromarray(mask * 50)),
    "bits": lambda mask: save(PIL.Image.fromarray(mask > 0)),
    "16 bits": lambda mask: save(PIL.Image.fromarray(mask.astype(np.uint16) * 300)),
    "OpenCV's": lambda mask: cv2.imencode(".png", mask)[1].tobytes(),
    "OpenCV's bits": lambda mask: cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes(),
}


class TestReadMaskPicture:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("size", [(1, 1), (7, 9), (24, 37), (16, 64)])
    def test_gives_what_pillow_gives(self, kind, size, tmp_path):
        data = KINDS[kind](labels(*size, most=5))
        expected = np.array(PIL.Image.open(io.BytesIO(data)))
        found = read(data, tmp_path)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == (np.uint16 if kind == "16 bits" else np.uint8)
        assert expected.dtype != np.bool_ or found.max() <= 1

    @given(st.integers(1, 20), st.integers(1, 40), st.integers(0, 255))
    @settings(deadline=None, max_examples=40)
    def test_palette_pictures_are_read_directly(self, height, width, most):
        mask = labels(height, width, most)
        np.testing.assert_array_equal(_plain_labels(save(palette(mask))), mask)

    def test_pixels_in_several_chunks(self, tmp_path):
        mask = np.random.default_rng(0).integers(0, 255, (400, 400), np.uint8)
        data = save(palette(mask))
        assert data.count(b"IDAT") > 1
        np.testing.assert_array_equal(read(data, tmp_path), mask)

    @pytest.mark.parametrize("compress_level", [0, 1, 9])
    def test_any_compression(self, compress_level, tmp_path):
        mask = labels(30, 50, most=3)
        np.testing.assert_array_equal(
            read(save(palette(mask), compress_level=compress_level), tmp_path), mask
        )


class TestErrors:
    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(MaskError, match=r"there is no mask picture .*00004\.png"):
            read_mask_picture(tmp_path / "00004.png")

    def test_a_picture_with_colours_is_refused(self, tmp_path):
        data = save(PIL.Image.fromarray(np.zeros((4, 4, 3), np.uint8)))
        with pytest.raises(MaskError, match=r"00000\.png cannot be read as a mask picture: it has colours"):
            read(data, tmp_path)

    @pytest.mark.parametrize("kind", ["palette", "bits", "OpenCV's"])
    @pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
    def test_a_file_that_ends_early_is_refused(self, kind, share, tmp_path):
        data = KINDS[kind](labels(60, 90, most=5))
        with pytest.raises(MaskError, match="cannot be read as a mask picture"):
            read(data[: int(len(data) * share)], tmp_path)

    def test_a_damaged_file_is_refused(self, tmp_path):
        data = bytearray(KINDS["palette"](labels(60, 90, most=5)))
        place = data.index(b"IDAT") + 20
        data[place] ^= 0xFF
        with pytest.raises(MaskError, match="cannot be read as a mask picture"):
            read(bytes(data), tmp_path)

    def test_a_header_that_lies_about_the_size_takes_no_memory(self, tmp_path):
        header = struct.pack(">II5B", 1 << 30, 1 << 30, 8, 3, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        with pytest.raises(MaskError, match="cannot be read as a mask picture"):
            read(b"\x89PNG\r\n\x1a\n" + chunk, tmp_path)
