"""Pictures that are small in bytes: PNG with a palette, made from one with all colours."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

MOST_COLOURS = 256
READ_PIXELS = """async (picture) => {
  const bytes = Uint8Array.from(atob(picture), (one) => one.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
  pen.drawImage(image, 0, 0);
  const { data } = pen.getImageData(0, 0, image.width, image.height);
  let raw = "";
  for (let i = 0; i < data.length; i += 32768) raw += String.fromCharCode(...data.subarray(i, i + 32768));
  return [image.width, image.height, btoa(raw)];
}"""


def with_few_colours(blank, picture):
    """Return a PNG with its 256 most frequent colours, others by the nearest of them: a third of the size.

    Args:
        blank: An empty page of a browser, which reads the picture.
        picture: A PNG.
    """
    width, height, raw = blank.evaluate(READ_PIXELS, base64.b64encode(picture).decode())
    pixels = np.frombuffer(base64.b64decode(raw), np.uint8).reshape(-1, 4)[:, :3].astype(np.int32)
    packed = pixels @ (1 << 16, 1 << 8, 1)
    colours, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    kept = colours[np.argsort(-counts)[:MOST_COLOURS]]
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    palette = np.stack([kept >> 16, kept >> 8 & 255, kept & 255], axis=1)
    nearest = np.array([np.argmin(((palette - one) ** 2).sum(axis=1)) for one in parts], np.uint8)
    rows = nearest[inverse].reshape(height, width)
    scanlines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"PLTE", palette.astype(np.uint8).tobytes()), (b"IDAT", zlib.compress(scanlines, 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in (*chunks, (b"IEND", b"")))


def _chunk(kind, content):
    """Return a chunk as the PNG specification has it: length, kind, content, check sum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
