"""PNG masks of raster outputs: one channel, each pixel the index of the class at that place, 0 for none."""

from __future__ import annotations

import struct
import zlib

WIDTH, HEIGHT = 640, 480
Box = tuple[int, int, int, int]  # left, top, right, bottom


def png(boxes: list[Box]) -> bytes:
    """Return a mask in which the pixels of box number n (from 1) have the value n."""
    rows = [bytearray(WIDTH) for _ in range(HEIGHT)]
    for number, (left, top, right, bottom) in enumerate(boxes, 1):
        for row in rows[max(top, 0) : max(bottom, 0)]:
            first, last = max(left, 0), min(right, WIDTH)
            row[first:last] = bytes([number]) * max(last - first, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 6)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
