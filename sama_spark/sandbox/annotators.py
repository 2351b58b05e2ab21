"""Simulated annotators: they start from the pre-annotations, correct a little, and finish the task.

The task's id decides what they do, so that the same task always gets the same answers.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from sama_spark.sandbox import png_masks as masks
from sama_spark.sandbox import schemas
from sama_spark.sandbox.definitions import Output, menu_path
from sama_spark.sandbox.project import Project
from sama_spark.sandbox.signing import ASSETS
from sama_spark.sandbox.task import EMPTY, Task, dumps, join_object

Json = Any


def finish(project: Project, task: Task, origin: str, *, corrections: bool, delivered_at: int | None) -> None:
    """Answer a task and deliver it. Without `corrections` the answers are the pre-annotations as they came."""
    before = task.pre_annotations()
    answers = _correct(project, task, before, origin) if corrections else before
    task.submitters = dumps({"Annotate": 501, "Review": 701 + Random(task.id).randrange(9)})  # noqa: S311
    task.extras = _extras(project, task, answers)
    project.deliver(task, join_object(answers), delivered_at)


def _correct(project: Project, task: Task, before: dict[str, bytes], origin: str) -> dict[str, bytes]:
    """Return an answer for each output of the project, as JSON text; `before` has the pre-annotations."""
    answers: dict[str, bytes] = {}
    for name, output in project.outputs.items():
        random = Random(f"{task.id}/{name}")  # noqa: S311
        given = msgspec.json.decode(before[name]) if name in before else None
        if output.type == "raster":
            mask = {"mask_url": f"{origin}{ASSETS}masks/{project.id}/{task.id}.png"}
            answer: Json = {"layers": {"raster_coding": mask}}
        else:
            answer = _invent(output, random) if given is None else _improve(output, given, random)
        answers[name] = dumps(answer)
    return answers


def mask_boxes(task_id: str) -> list[masks.Box]:
    """Return what the annotators painted in a raster task."""
    random = Random(task_id)  # noqa: S311
    boxes = []
    for _ in range(random.randint(1, 3)):
        left, top = random.randint(0, 500), random.randint(0, 360)
        boxes.append((left, top, left + random.randint(20, 140), top + random.randint(20, 120)))
    return boxes


def _extras(project: Project, task: Task, answers: dict[str, bytes]) -> bytes:
    extras: dict[str, Json] = {}
    for name, output in project.outputs.items():
        if output.keypoints and b"keypoint_shape" in answers.get(name, b""):
            extras.setdefault("keypoint_options", {})[name] = {"classes": output.keypoints}
        if output.type == "raster" and name in answers:
            legend = {str(number): f"region {number}" for number, _ in enumerate(mask_boxes(task.id), 1)}
            extras.setdefault("raster_legend", {})[name] = legend
    return dumps(extras) if extras else EMPTY


def _invent(output: Output, random: Random) -> Json:
    """Return an answer of somebody who had no pre-annotation."""
    match output.type:
        case "dropdown" | "radio" | "menu":
            return menu_path(random.choice(output.choices()))
        case "checkbox":
            return {option: random.choice("01") for option in output.choices()}
        case "text":
            return f"seen, {random.randint(1, 9)} remarks"
        case "date":
            return f"2024-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}"
        case "image":
            return {"layers": {"vector_tagging": [_box(output, random, n) for n in range(1, random.randint(2, 4))]}}
        case _:
            return schemas.example(output)


def _box(output: Output, random: Random, index: int) -> Json:
    x, y = random.randint(0, 500), random.randint(0, 360)
    right, bottom = x + random.randint(10, 140), y + random.randint(10, 120)
    shape = {
        "type": "rectangle",
        "index": index,
        "points": [[x, y], [right, y], [x, bottom], [right, bottom]],
        "tags": {name: _invent(tag, random) for name, tag in output.tags.items()},
    }
    return {"shapes": [shape], "group_type": None}


def _improve(output: Output, given: Json, random: Random) -> Json:
    """Return the pre-annotation as the annotators leave it."""
    match output.type:
        case "menu":
            return menu_path(given)
        case "checkbox":
            return {option: given.get(option, "0") for option in (*output.options, *given)}
        case "image":
            return _improve_image(output, given, random)
        case "video":
            return [_animate(group) for group in given]
        case "3d" if isinstance(given, list):
            return [_animate(group) if isinstance(group, dict) else group for group in given]
        case _:
            return given


def _improve_image(output: Output, given: Json, random: Random) -> Json:
    if isinstance(given, list):  # the older form, a bare list of shapes
        given = {"layers": {"vector_tagging": [{"shapes": [shape], "group_type": None} for shape in given]}}
    groups = given["layers"].get("vector_tagging")
    if groups is None:
        return given
    used = [shape["index"] for group in groups for shape in group["shapes"] if shape.get("index") is not None]
    index = max(used, default=0)
    improved = []
    for group in groups:
        shapes = []
        for old in group["shapes"]:
            shape = {**old, "type": "rectangle" if old["type"] == "rect" else old["type"]}
            if shape.get("index") is None:
                index += 1
                shape["index"] = index
            if random.random() < 0.5:
                shape["points"] = _nudged(shape["points"], random)
            tags = {**(shape.get("tags") or {})}
            for name, tag in output.tags.items():
                tags[name] = _improve(tag, tags[name], random) if name in tags else _invent(tag, random)
            shape["tags"] = tags
            shapes.append(shape)
        improved.append({**group, "shapes": shapes, "group_type": group.get("group_type")})
    return {**given, "layers": {**given["layers"], "vector_tagging": improved}}


def _nudged(points: Json, random: Random) -> Json:
    """Move the points by a pixel or two; whole numbers stay whole."""
    right, down = random.randint(-2, 2), random.choice((-2, -1, 1, 2))
    return [[max(x + right, 0), max(y + down, 0), *rest] for x, y, *rest in points]


def _animate(group: Json) -> Json:
    """Add `locations`, a place for each frame, to the shapes of a video or 3D group."""
    shapes = group.get("shapes")
    if not isinstance(shapes, list):
        return group
    keyed = [{**shape, "key_locations": _as_list(shape.get("key_locations"))} for shape in shapes]
    last = max((key.get("frame_number", 0) for shape in keyed for key in shape["key_locations"]), default=-1)
    frames = group.get("frame_count") or last + 1
    moving = [
        {**shape, "index": shape.get("index", position), "locations": _locations(shape, frames)}
        for position, shape in enumerate(keyed, 1)
    ]
    return {**group, "shapes": moving, "group_type": group.get("group_type"), "frame_count": frames}


def _as_list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _locations(shape: Json, frames: int) -> list[Json]:
    keys = sorted(shape["key_locations"], key=lambda key: key.get("frame_number", 0))
    places: list[Json] = []
    tags: dict[str, Json] = {}
    for frame in range(frames):
        before = [key for key in keys if key.get("frame_number", 0) <= frame]
        if not before or before[-1].get("visibility", 1) == 0:
            places.append({"visibility": 0})
            continue
        key, after = before[-1], keys[len(before) : len(before) + 1]
        tags = {**tags, **(key.get("tags") or {})}
        place = {name: value for name, value in key.items() if name not in ("frame_number", "key_points", "source")}
        place |= {"visibility": 1, "tags": tags}
        if after and after[0].get("visibility", 1) and "points" in place and "points" in after[0]:
            share = (frame - key["frame_number"]) / (after[0]["frame_number"] - key["frame_number"])
            place["points"] = _between(key["points"], after[0]["points"], share)
        places.append(place)
    return places


def _between(first: Json, second: Json, share: float) -> Json:
    if share == 0 or len(first) != len(second):
        return first
    return [
        [a + (b - a) * share for a, b in zip(one, two, strict=True)] for one, two in zip(first, second, strict=True)
    ]
