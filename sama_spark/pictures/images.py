"""Reads images and masks from bytes, paths and links, and makes them small enough to be drawn."""

from __future__ import annotations

import re
import time
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sama_spark.http.failures import Failure, Trouble
from sama_spark.http.secrets import Secret, redactor_for_link
from sama_spark.http.wire import Wire
from sama_spark.staging import local_path

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import SparkSession

ImageSource = str | bytes | bytearray | None
Region = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

_LONGEST_SIDE = 2_000  # pixels, of what is drawn
_MOST_BYTES = 200_000_000
_SECONDS = 20.0  # without a byte
_LONGEST = 120.0  # seconds for the whole image
_REDIRECTS = 5

# What Spark and its file systems say, and the reason to show. Classic and Connect sessions use different words.
_REASONS = (
    (
        r"No FileSystem for scheme|UnsupportedFileSystem|FileSystem\S* not found|ClassNotFound.*FileSystem",
        "Spark has nothing here that reads {} addresses",
    ),
    (
        r"PATH_NOT_FOUND|Path does not exist|FileNotFound|NoSuchKey|NoSuchBucket|status code: 404",
        "there is no such file",
    ),
    (
        r"Access ?Denied|Forbidden|Unauthorized|Permission.?denied|credential|status code: 40[13]",
        "Spark may not read {} there: see that it has the storage's credentials",
    ),
    (r"UnknownHost|timed? ?out|Connection refused|ConnectException", "Spark cannot reach the storage of {} addresses"),
    (r"URISyntax|Illegal character|Relative path in absolute URI|Cannot create a Path", "its address cannot be read"),
)


class UnreadableImage(Exception):
    """An image cannot be read; the text says why, without the address, which may be a signed link."""


@dataclass(frozen=True)
class Pixels:
    """The part of an image that is drawn.

    Attributes:
        values: the pixels, perhaps fewer than the image has.
        region: the part that they show, in pixels of the whole image.
        size: width and height of the whole image, in pixels.
    """

    values: NDArray[Any]
    region: Region
    size: tuple[int, int]


def read_image(spark: SparkSession, place: ImageSource, part: Region | None = None) -> Pixels:
    """Return the image in eight bits of red, green and blue, turned upright as its EXIF data say.

    Args:
        spark: reads addresses that are neither paths nor http(s).
        place: bytes, a path of the driver's file system or of a volume, an http(s) URL, or any other address that
            Spark reads (`s3://`, `abfss://`).
        part: return only this region of the image.

    Raises:
        UnreadableImage: `place` cannot be read, or is no image.
    """
    image = ImageOps.exif_transpose(_opened(_content(spark, place)))
    size = image.size
    region: Region = (0, 0, *size)
    if part is not None:
        left, top, right, bottom = map(int, part)
        seen = max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])
        if seen[0] < seen[2] and seen[1] < seen[3]:
            region, image = seen, image.crop(seen)
    image = _eight_bits(image)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    return Pixels(np.asarray(image), region, size)


def read_mask(spark: SparkSession, place: ImageSource) -> Pixels:
    """Return a mask: at each pixel the index of a class, 0 for none, or a colour where the mask is coded by colours.

    Raises:
        UnreadableImage: `place` cannot be read, or is no image.
    """
    image = _opened(_content(spark, place))
    size = image.size
    if image.mode in ("RGB", "RGBA", "LA", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.NEAREST)
    return Pixels(np.asarray(image), (0, 0, *size), size)


def _opened(content: bytes) -> Image.Image:
    try:
        image = Image.open(BytesIO(content))
        image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        known = isinstance(error, Image.DecompressionBombError)
        raise UnreadableImage("it has too many pixels" if known else "it is no image, or a broken one") from None
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":  # more than eight bits, as in thermal and medical images
        values = np.asarray(image, float)
        low, high = float(values.min(initial=0)), float(values.max(initial=0))
        image = Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))
    return image.convert("RGB")


def _content(spark: SparkSession, place: ImageSource) -> bytes:
    if not place:
        raise UnreadableImage("none is given")
    if not isinstance(place, str):
        return bytes(place)
    named = re.match(r"([a-z][a-z0-9+.-]*):", place, re.IGNORECASE)
    scheme = named[1].lower() if named else ""
    if scheme in ("http", "https"):
        return _fetched(place)
    if scheme in ("", "file") or place.startswith("dbfs:/Volumes/"):
        try:
            return local_path(place).read_bytes()
        except OSError as error:
            raise UnreadableImage((error.strerror or type(error).__name__).lower()) from None
        except ValueError:
            raise UnreadableImage("no file has such a name") from None
    try:
        rows = spark.read.format("binaryFile").load(place).select("content").limit(2).collect()
    except Exception as error:
        raise UnreadableImage(_reason(scheme, str(error))) from None
    if len(rows) != 1:
        raise UnreadableImage("its address names no file" if not rows else "its address names several files")
    return bytes(rows[0].content)


def _reason(scheme: str, said: str) -> str:
    """Return why Spark cannot read an image. Spark's own words hold the address, so they are the last resort."""
    for pattern, reason in _REASONS:
        if re.search(pattern, said, re.IGNORECASE):
            return reason.format(f"{scheme}:")
    first = next((line for line in said.splitlines() if line.strip()), "for no reason that it names")
    return f"Spark cannot read it: {re.sub('[a-z0-9+]+:/[^ ]*', '...', first, flags=re.IGNORECASE)[:120]}"


def _fetched(url: str) -> bytes:
    try:
        urlsplit(url)
    except ValueError:
        raise UnreadableImage("its address cannot be read") from None
    wire = Wire(connect_timeout=_SECONDS, read_timeout=_SECONDS, monotonic=time.monotonic, accept="*/*")
    deadline = time.monotonic() + _LONGEST
    with closing(wire):
        for _ in range(_REDIRECTS + 1):
            reply = wire.exchange("GET", Secret(url), None, redactor_for_link(url), deadline, most=_MOST_BYTES)
            if isinstance(reply, Failure):
                break
            if not (300 <= reply.status < 400 and reply.location):
                if reply.status == 200:
                    return reply.body
                raise UnreadableImage(
                    f"its link answers {reply.status}{', and may have expired' * (reply.status == 403)}"
                )
            try:
                url = urljoin(url, reply.location)
            except ValueError:
                raise UnreadableImage("its link leads to what is no address") from None
            if not url.lower().startswith(("http://", "https://")):
                raise UnreadableImage("its link leads to what is no http(s) address")
        else:
            raise UnreadableImage("its link leads on and on")
    if reply.trouble is Trouble.TOO_LARGE:
        raise UnreadableImage(f"it is larger than {_MOST_BYTES // 1_000_000} MB")
    raise UnreadableImage(f"its host cannot be reached ({reply.kind})")
