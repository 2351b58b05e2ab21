"""Images, from wherever a user's table says that they lie, as pixels that are small enough to be drawn."""

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

Place = str | bytes | bytearray | None
Region = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

_LONGEST_SIDE = 2_000  # pixels, of what is drawn
_MOST_BYTES = 200_000_000
_SECONDS = 20.0  # without a byte
_LONGEST = 120.0  # seconds, all in all
_REDIRECTS = 5


# What Spark and its file systems say, whichever of its kinds of session tells it.
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


class Unreadable(Exception):
    """An image cannot be had; the text says why, without its address, which may be signed."""


@dataclass(frozen=True)
class Pixels:
    """What is seen of an image: `values` fill `region`, in pixels of the whole image, which is `size` wide and high."""

    values: NDArray[Any]
    region: Region
    size: tuple[int, int]


def read_image(spark: SparkSession, place: Place, part: Region | None = None) -> Pixels:
    """The image as its viewer sees it, turned as its camera says, in eight bits of red, green and blue.

    place: bytes, a path of the driver's file system or of a volume, an http(s) URL, or any other address that Spark
        reads (`s3://`, `abfss://`).
    part: only this region of it.

    Raises:
        Unreadable: it cannot be had, or is no image.
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


def read_mask(spark: SparkSession, place: Place) -> Pixels:
    """A mask: the index of a class at each pixel, 0 for none; or red, green and blue, where it is coded by colours.

    Raises:
        Unreadable: it cannot be had, or is no image.
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
        raise Unreadable("it has too many pixels" if known else "it is no image, or a broken one") from None
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":  # more than eight bits, as thermal and medical images have: from their darkest on
        values = np.asarray(image, float)
        low, high = float(values.min(initial=0)), float(values.max(initial=0))
        image = Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))
    return image.convert("RGB")


def _content(spark: SparkSession, place: Place) -> bytes:
    if not place:
        raise Unreadable("none is given")
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
            raise Unreadable((error.strerror or type(error).__name__).lower()) from None
        except ValueError:
            raise Unreadable("no file has such a name") from None
    try:
        rows = spark.read.format("binaryFile").load(place).select("content").limit(2).collect()
    except Exception as error:
        raise Unreadable(_reason(scheme, str(error))) from None
    if len(rows) != 1:
        raise Unreadable("its address names no file" if not rows else "its address names several files")
    return bytes(rows[0].content)


def _reason(scheme: str, said: str) -> str:
    """Why Spark cannot read a place. Its own words hold the address, so they are shown only where none fit."""
    for pattern, reason in _REASONS:
        if re.search(pattern, said, re.IGNORECASE):
            return reason.format(f"{scheme}:")
    first = next((line for line in said.splitlines() if line.strip()), "for no reason that it names")
    return f"Spark cannot read it: {re.sub('[a-z0-9+]+:/[^ ]*', '...', first, flags=re.IGNORECASE)[:120]}"


def _fetched(url: str) -> bytes:
    try:
        urlsplit(url)
    except ValueError:
        raise Unreadable("its address cannot be read") from None
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
                raise Unreadable(f"its link answers {reply.status}{', and may have expired' * (reply.status == 403)}")
            try:
                url = urljoin(url, reply.location)
            except ValueError:
                raise Unreadable("its link leads to what is no address") from None
            if not url.lower().startswith(("http://", "https://")):
                raise Unreadable("its link leads to what is no http(s) address")
        else:
            raise Unreadable("its link leads on and on")
    if reply.trouble is Trouble.TOO_LARGE:
        raise Unreadable(f"it is larger than {_MOST_BYTES // 1_000_000} MB")
    raise Unreadable(f"its host cannot be reached ({reply.kind})")
