"""Masks as PNG: what we send comes back bit for bit, and nothing else gets in."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from annotation.errors import PageError
from annotation.pages.bitmask import decode_bitmask, encode_bitmask
from tests.annotation.pages.pages import RELAXED

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20)))


def data_url(picture: PIL.Image.Image | bytes, **options: object) -> str:
    if isinstance(picture, PIL.Image.Image):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", **options)
        picture = buffer.getvalue()
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@RELAXED
@given(MASKS)
def test_every_mask_comes_back_bit_for_bit(mask):
    assert (decode_bitmask(encode_bitmask(mask), height=mask.shape[0], width=mask.shape[1]) == mask).all()


@RELAXED
@given(MASKS, st.integers(0, 255))
def test_only_half_opaque_pixels_of_the_browsers_pictures_count(mask, colour):
    alpha = np.where(mask, 128, 127).astype(np.uint8)
    rgba = np.dstack([np.full_like(alpha, colour)] * 3 + [alpha])
    url = data_url(PIL.Image.fromarray(rgba))
    assert (decode_bitmask(url, height=mask.shape[0], width=mask.shape[1]) == mask).all()


def test_what_we_send_is_one_bit_a_pixel_and_transparent_outside():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(encode_bitmask(mask).split(",")[1])))
    assert (picture.mode, picture.info["transparency"]) == ("1", 0)
    assert (np.asarray(picture.convert("RGBA"))[..., 3] == np.where(mask, 255, 0)).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_other_pictures_with_transparency_are_read_too(mode):
    rgba = PIL.Image.fromarray(np.array([[[9, 9, 9, 255], [9, 9, 9, 0]]], np.uint8))
    if mode == "P":
        picture = PIL.Image.new("P", (2, 1))
        picture.putpalette([9, 9, 9, 0, 0, 0])
        picture.putpixel((1, 0), 1)
        url = data_url(picture, transparency=1)
    else:
        url = data_url(rgba.convert(mode))
    assert decode_bitmask(url, height=1, width=2).tolist() == [[True, False]]


GREY = PIL.Image.fromarray(np.full((2, 2), 200, np.uint8))
GOOD = encode_bitmask(np.ones((2, 2), bool))
BOMB = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0))
TWO_HEADERS = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 6, 0, 0, 0))
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 6, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    + chunk(b"IEND", b"")
)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (None, "data URL"),
        ("", "data URL"),
        ("https://example.com/a.png", "data URL"),
        ("data:image/png;base64,%%%", "base64"),
        ("data:image/png;base64,AAA", "base64"),
        ("data:image/png;base64,ä", "base64"),
        ("data:image/png;base64," + "A" * (12 << 20), "characters"),
        (data_url(b""), "no PNG"),
        (data_url(b"GIF89a" + b"\0" * 60), "no PNG"),
        (data_url(GREY), "transparency"),
        (data_url(GREY.convert("RGB")), "transparency"),
        (data_url(GREY.resize((3, 2))), "2x3 pixels instead of 2x2"),
        (data_url(BOMB), "60000x60000"),
        (data_url(TWO_HEADERS), "two sizes|damaged"),
        (GOOD[:70], "PNG|base64|damaged"),
        (data_url(base64.b64decode(GOOD.split(",")[1])[:-30]), "damaged"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else str(value),
)
def test_anything_else_is_refused(url, named):
    with pytest.raises(PageError, match=named):
        decode_bitmask(url, height=2, width=2)


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros((2, 2, 2), bool), np.zeros((0, 2), bool)])
def test_only_masks_are_packed(mask):
    with pytest.raises(PageError, match="bool"):
        encode_bitmask(mask)
