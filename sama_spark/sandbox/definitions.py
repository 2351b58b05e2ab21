"""A project's inputs and outputs: their types, and the check of a task's data against them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from sama_spark.sandbox import clock
from sama_spark.sandbox.scene_shapes import Image, MovingGroup, SentShape

OUTPUT_PREFIX = "output_"
NULL = b"null"
# Inputs `<output> <suffix>` that the platform adds itself.
METADATA = (
    "Original url", "Original file name", "Size", "Height", "Width", "Files", "Frames per second",
    "Total frames", "Duration",
)  # fmt: skip
MAX_STRING = 16 * 1024 * 1024
INT32 = range(-(2**31), 2**31)
_INTEGER = re.compile(rb"-?(?:0|[1-9]\d{0,10})")

Error = dict[str, Any]  # {"type": ..., "message": ...}
InputType = Literal["string", "integer", "date"]
OutputType = Literal["text", "date", "dropdown", "radio", "checkbox", "menu", "image", "raster", "video", "3d"]
DEFAULT_OPTIONS: dict[str, tuple[str, ...]] = {
    "dropdown": ("first", "second", "third"),
    "radio": ("yes", "no"),
    "checkbox": ("first", "second", "third"),
    "menu": ("vehicle|car", "vehicle|truck", "person|adult"),
}


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input of a project; `"string"` alone is an optional string."""

    type: InputType
    required: bool = False

    def check(self, raw: bytes) -> None:
        """Raise ValueError unless the JSON text `raw` is a value of this input."""
        if self.type == "integer":
            if _INTEGER.fullmatch(raw) is None or int(raw) not in INT32:
                raise ValueError("is not a 32-bit integer")
        elif not raw.startswith(b'"'):
            raise ValueError("is not a string")
        elif self.type == "date":
            _check_date(raw)
        elif len(raw) - 2 > MAX_STRING:
            raise ValueError("is longer than 16 MB")


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An output of a project.

    Attributes:
        type: one of `OutputType`.
        options: of dropdown, radio and checkbox; of menu as `a|b`. Without options every value is accepted.
        tags: for image outputs, the tags of a shape, each an output of scalar type.
        keypoints: for image outputs, classes of keypoint shapes as `_extras` gives them.
    """

    type: OutputType
    options: tuple[str, ...] = ()
    tags: dict[str, Output] = {}
    keypoints: dict[str, Any] = {}

    def check(self, raw: bytes) -> None:
        """Raise ValueError unless the JSON text `raw` is a value of this output."""
        match self.type:
            case "text":
                msgspec.json.decode(raw, type=str)
            case "date":
                _check_date(raw)
            case "dropdown" | "radio" | "menu":
                written = menu_path if self.type == "menu" else str
                value = written(msgspec.json.decode(raw, type=str))
                if self.options and value not in map(written, self.options):
                    raise ValueError(f"is none of the options {', '.join(self.options)}")
            case "checkbox":
                ticks = msgspec.json.decode(raw, type=dict[str, Literal["0", "1"]])
                unknown = [name for name in ticks if self.options and name not in self.options]
                if unknown:
                    raise ValueError(f"has options that are not known: {', '.join(unknown)}")
            case "image" | "raster":  # the older form is a bare list of shapes
                form: Any = list[SentShape] if raw.startswith(b"[") else Image
                msgspec.json.decode(raw, type=form)
            case "video":
                msgspec.json.decode(raw, type=list[MovingGroup])
            case "3d" if not raw.startswith((b"{", b"[")):
                raise ValueError("is neither an object nor an array")

    def choices(self) -> tuple[str, ...]:
        """Return the options, or some that an annotator could have."""
        return self.options or DEFAULT_OPTIONS.get(self.type, ())


def _check_date(raw: bytes) -> None:
    if not clock.is_date(msgspec.json.decode(raw, type=str)):
        raise ValueError("is not a date (YYYY-mm-dd)")


class Definition:
    """The inputs and outputs of a project."""

    def __init__(self, inputs: dict[str, Input], outputs: dict[str, Output]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.required = [name for name, field in inputs.items() if field.required]
        self._metadata = {f"{output} {suffix}" for output in outputs for suffix in METADATA}
        seeded = {f"{OUTPUT_PREFIX}{name}": output for name, output in outputs.items()}
        self._fields: dict[str, Input | Output] = {**seeded, **inputs}

    def check(self, raw: msgspec.Raw) -> list[Error]:
        """Return what is wrong with a task's data, as the API reports it; nothing where the data fits."""
        try:
            data = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except ValueError as error:
            return [schema_error(f"data: {error}")]
        problems = [f"{name} {problem}" for name, value in data.items() if (problem := self._problem(name, value))]
        problems += [f"{name} is required" for name in self.required if bytes(data.get(name, NULL)) == NULL]
        errors = [schema_error(problem) for problem in problems]
        unknown = [name for name in data if name.startswith(OUTPUT_PREFIX) and name not in self._fields]
        if unknown:
            names = ", ".join(name.removeprefix(OUTPUT_PREFIX) for name in unknown)
            errors.append({"type": 400, "message": f"Invalid seeded output name(s): {names}"})
        return errors

    def _problem(self, name: str, value: msgspec.Raw) -> str:
        field = self._fields.get(name)
        if field is None:
            known = name.startswith(OUTPUT_PREFIX) or name in self._metadata
            return "" if known else "is not an input of the project"
        try:
            if bytes(value) != NULL:
                field.check(bytes(value))
        except ValueError as error:
            return str(error)
        return ""


def schema_error(message: str) -> Error:
    """Return an error of the API about a task that does not fit the creation schema."""
    return {"type": "InvalidInputSchema", "message": message}


def menu_path(value: str) -> str:
    """Return a menu's value without the spaces that some write around the pipes."""
    return "|".join(level.strip() for level in value.split("|"))


def inputs_of(spec: Mapping[str, Any]) -> dict[str, Input]:
    """Return inputs as in `{"url": "string", "count": {"type": "integer", "required": True}}`."""
    return {name: msgspec.convert(_with_type(value), Input) for name, value in spec.items()}


def outputs_of(spec: Mapping[str, Any]) -> dict[str, Output]:
    """Return outputs as in `{"objects": "image", "weather": {"type": "checkbox", "options": ["rain", "sun"]}}`."""
    return {name: msgspec.convert(_output_spec(value), Output) for name, value in spec.items()}


def _output_spec(value: Any) -> Any:
    value = _with_type(value)
    if isinstance(value, dict) and isinstance(value.get("tags"), dict):
        value = {**value, "tags": {name: _output_spec(tag) for name, tag in value["tags"].items()}}
    return value


def _with_type(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value
