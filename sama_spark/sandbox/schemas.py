"""The two JSON Schema documents (draft 7) of a project."""

from __future__ import annotations

from typing import Any

from sama_spark.sandbox.definitions import OUTPUT_PREFIX, Input, Output
from sama_spark.sandbox.project import Project
from sama_spark.sandbox.scene_shapes import POINTS
from sama_spark.sandbox.task import STATES

DRAFT = "http://json-schema.org/draft-07/schema#"
Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
DATE: Schema = {"type": "string", "format": "date"}
NUMBER: Schema = {"type": "number"}
INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
MOMENT: Schema = {"type": "string", "format": "date-time"}
YES_NO: Schema = {"type": "string", "enum": ["0", "1"]}


def create_task(project: Project) -> Schema:
    """Return the schema of tasks as they are sent."""
    properties = {name: _input(field) for name, field in project.inputs.items()}
    properties |= {f"{OUTPUT_PREFIX}{name}": value(output) for name, output in project.outputs.items()}
    data = _object(properties, project.definition.required) | {"additionalProperties": False}
    return {
        "$schema": DRAFT,
        "title": f"create_task of project {project.id}",
        **_object(
            {
                "data": data,
                "priority": INT32 | {"default": 0},
                "submit": {"type": "boolean", "default": False},
                "duration": NUMBER,
                "reserve_for": {"type": "integer"},
            },
            ["data"],
        ),
    }


def deliver_task(project: Project) -> Schema:
    """Return the schema of tasks as they are delivered."""
    data = _object({name: _input(field) for name, field in project.inputs.items()}, project.definition.required)
    answers = _object(
        {
            name: value(output) | {"x-sama-output-type": output.type, "examples": [example(output)]}
            for name, output in project.outputs.items()
        },
        [],
    )
    properties: Schema = {
        "id": TEXT | {"pattern": "^[0-9a-f]{24}$"},
        "project_id": {"type": "integer"},
        "batch_id": {"type": ["integer", "null"]},
        "client_batch_id": {"type": ["string", "null"]},
        "created_at": MOMENT,
        "delivered_at": {"type": ["string", "null"], "format": "date-time"},
        "state": {"type": "string", "enum": list(STATES)},
        "data": data,
        "answers": answers,
        "submitter_ids_by_step": {"type": "object", "additionalProperties": {"type": "integer"}},
        "_extras": {"type": "object"},
    }
    if not project.switches.batch_fields:
        del properties["batch_id"], properties["client_batch_id"]
    required = ["id", "project_id", "created_at", "delivered_at", "state", "data", "answers"]
    return {
        "$schema": DRAFT,
        "title": f"deliver_task of project {project.id}",
        **_object(properties, required),
    }


def _object(properties: Schema, required: list[str]) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return schema | {"required": required} if required else schema


def _array(items: Schema, least: int | None = None, most: int | None = None) -> Schema:
    schema: Schema = {"type": "array", "items": items}
    if least is not None:
        schema["minItems"] = least
    if most is not None:
        schema["maxItems"] = most
    return schema


def _input(field: Input) -> Schema:
    return {"string": TEXT, "integer": INT32, "date": DATE}[field.type]


def value(output: Output) -> Schema:
    """Return the schema of an output's values, or of a tag's."""
    match output.type:
        case "text":
            return TEXT
        case "date":
            return DATE
        case "dropdown" | "radio" | "menu":
            return TEXT | {"enum": list(output.options)} if output.options else TEXT
        case "checkbox" if output.options:
            schema = _object(dict.fromkeys(output.options, YES_NO), [])
            return schema | {"additionalProperties": False}
        case "checkbox":
            return {"type": "object", "additionalProperties": YES_NO}
        case "image":
            return _layers("vector_tagging", _array(_group(_shape(output))))
        case "raster":
            return _layers("raster_coding", _object({"mask_url": TEXT | {"format": "uri"}}, ["mask_url"]))
        case "video":
            return _array(_group(_moving_shape(output), frame_count={"type": "integer"}))
        case "3d":
            return _array(_group(_moving_shape(output, spatial=True), frame_count={"type": "integer"}))


def _layers(name: str, schema: Schema) -> Schema:
    return _object({"layers": _object({name: schema}, [name])}, ["layers"])


def _group(shape: Schema, **more: Schema) -> Schema:
    return _object({"shapes": _array(shape), "group_type": {"type": ["string", "null"]}} | more, ["shapes"])


def _tags(output: Output) -> Schema:
    return _object({name: value(tag) for name, tag in output.tags.items()}, [])


def _shape(output: Output) -> Schema:
    points = _array(_array(NUMBER, 2, 2), 1)
    properties = {
        "type": {"type": "string", "enum": list(POINTS)},
        "index": {"type": "integer"},
        "points": points,
        "tags": _tags(output),
        "key_points": points,
    }
    return _object(properties, ["type", "points"])


def _moving_shape(output: Output, *, spatial: bool = False) -> Schema:
    place: Schema = {
        "visibility": {"type": "integer", "enum": [0, 1]},
        "points": _array(_array(NUMBER, 2, 3)),
        "tags": _tags(output),
    }
    if spatial:
        place |= {
            "position_center": _array(NUMBER, 3, 3),
            "dimensions": _object(dict.fromkeys(("length", "width", "height"), NUMBER), []),
            "direction": _object(dict.fromkeys(("roll", "pitch", "yaw"), NUMBER), []),
        }
    key = _object(place | {"frame_number": {"type": "integer", "minimum": 0}}, ["frame_number"])
    properties = {
        "type": TEXT,
        "index": {"type": "integer"},
        "tags": _tags(output),
        "key_locations": _array(key),
        "locations": _array(_object(place, [])),
    }
    return _object(properties, ["type", "key_locations"])


def example(output: Output) -> Any:
    """Return one value that an annotator may give."""
    choices = output.choices()
    tags = {name: example(tag) for name, tag in output.tags.items()}
    box = [[10, 20], [110, 20], [10, 80], [110, 80]]
    match output.type:
        case "text":
            return "free text"
        case "date":
            return "2024-03-01"
        case "dropdown" | "radio" | "menu":
            return choices[0]
        case "checkbox":
            return {option: "01"[position == 0] for position, option in enumerate(choices)}
        case "image":
            shape = {"type": "rectangle", "index": 1, "points": box, "tags": tags}
            return {"layers": {"vector_tagging": [{"shapes": [shape], "group_type": None}]}}
        case "raster":
            return {"layers": {"raster_coding": {"mask_url": "https://assets.invalid/mask.png"}}}
        case "video":
            place = {"visibility": 1, "points": box}
            keys = [{"frame_number": 0, **place}]
            return [_moving("rectangle", tags, keys, [place])]
        case "3d":
            corners = [[x, y, z] for z in (0.0, 1.5) for y in (0.0, 2.0) for x in (0.0, 4.0)]
            place = {
                "visibility": 1,
                "points": corners,
                "position_center": [2.0, 1.0, 0.75],
                "dimensions": {"length": 4.0, "width": 2.0, "height": 1.5},
                "direction": {"roll": 0.0, "pitch": 0.0, "yaw": 0.0},
            }
            return [_moving("cuboid", tags, [{"frame_number": 0, **place}], [place])]


def _moving(type_: str, tags: Schema, keys: list[Schema], places: list[Schema]) -> Schema:
    shape = {"type": type_, "index": 1, "tags": tags, "key_locations": keys, "locations": places}
    return {"shapes": [shape], "group_type": None, "frame_count": len(places)}
