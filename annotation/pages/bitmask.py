"""Masks as a page of Label Studio takes and gives them: PNG in a data URL, of which only transparency counts.

We send one bit a pixel with the background transparent: 1 kB and half a millisecond for a 480p mask. The browser gives
back RGBA with anti-aliased strokes; a pixel belongs to the mask when it is more than half opaque. Whatever comes from a
page is measured before it is unpacked.
"""

from __future__ import annotations

import base64
import binascii
import io
import struct
import zlib

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from annotation.errors import PageError

__all__ = ["decode_bitmask", "encode_bitmask"]

BoolMask = NDArray[np.bool_]

_PREFIX = "data:image/png;base64,"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_BYTES = 8 << 20  # an RGBA mask of 1080p of pure noise stays below
_HALF_OPAQUE = 127


def encode_bitmask(mask: BoolMask) -> str:
    """A mask, bool [H, W], as the data URL of a 1-bit PNG whose background is transparent."""
    if mask.ndim != 2 or mask.dtype != np.bool_ or mask.size == 0:
        raise PageError(f"A mask for a page must be bool [H, W], not {mask.dtype} {mask.shape}.")
    return _PREFIX + base64.b64encode(_one_bit_png(mask)).decode("ascii")


def decode_bitmask(url: str, *, height: int, width: int) -> BoolMask:
    """The mask in a data URL, bool [height, width]: more than half opaque is inside.

    Raises PageError when it is no PNG in base64, has another size, no transparency, or too many bytes.
    """
    data = _unpacked(url)
    if (found := _size(data)) != (height, width):
        raise PageError(
            f"The picture of a mask has {found[0]}x{found[1]} pixels instead of {height}x{width} (height x width)."
        )
    try:
        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return _opaque(image, (width, height))
    except (OSError, SyntaxError, ValueError, struct.error, PIL.Image.DecompressionBombError) as error:
        raise PageError(f"The picture of a mask is a damaged PNG: {error}.") from error


def _one_bit_png(mask: BoolMask) -> bytes:
    """Grey of one bit a pixel with black as transparent; written by hand, since Pillow takes three times as long."""
    height, width = mask.shape
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = np.pad(np.packbits(mask, axis=1), ((0, 0), (1, 0)))  # each row begins with its filter: none
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"tRNS", b"\0\0"),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _opaque(image: PIL.Image.Image, size: tuple[int, int]) -> BoolMask:
    if image.size != size:
        raise PageError(f"The picture of a mask names two sizes: {size} and {image.size} (width, height).")
    if not image.has_transparency_data:
        raise PageError("The picture of a mask has no transparency; its background must be transparent.")
    if image.mode == "1" and image.info.get("transparency") == 0:
        return np.array(image, dtype=np.bool_)
    alpha = image if image.mode == "LA" else image.convert("RGBA")
    return np.asarray(alpha.getchannel("A")) > _HALF_OPAQUE


def _unpacked(url: str) -> bytes:
    if not isinstance(url, str) or not url.startswith(_PREFIX):
        raise PageError(f"The picture of a mask must be a data URL {_PREFIX!r}…, not {url!r:.40}.")
    if len(url) > _MAX_BYTES * 4 // 3:
        raise PageError(f"The picture of a mask has {len(url)} characters; a mask needs far fewer.")
    try:
        return base64.b64decode(url[len(_PREFIX) :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise PageError(f"The picture of a mask is not valid base64: {error}.") from error


def _size(data: bytes) -> tuple[int, int]:
    """Height and width as the header says, before anything is unpacked."""
    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR" or len(data) < 33:
        raise PageError("The picture of a mask is no PNG.")
    width, height = struct.unpack(">II", data[16:24])
    return height, width
