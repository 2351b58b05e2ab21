"""What simulated annotators deliver, in Sama's formats; assets and masks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sama_spark.sandbox import Sandbox
from sama_spark.sandbox.definitions import Output, outputs_of
from sama_spark.sandbox.schemas import example

from .conftest import INPUTS, Http

BOX = [[10, 20], [110, 20], [10, 80], [110, 80]]
SCALARS = {
    "text": "text",
    "date": "date",
    "radio": {"type": "radio", "options": ["yes", "no"]},
    "dropdown": {"type": "dropdown", "options": ["red", "blue"]},
    "menu": {"type": "menu", "options": ["a|b", "a|c"]},
    "checkbox": {"type": "checkbox", "options": ["rain", "sun"]},
}


def answers(http: Http) -> list[dict[str, Any]]:
    return [task["answers"] for task in http.get("/tasks/delivered.json", page_size=1000).body["tasks"]]


def shapes(answer: Any) -> list[dict[str, Any]]:
    return [shape for group in answer["layers"]["vector_tagging"] for shape in group["shapes"]]


def test_boxes_are_corrected_a_little_and_missing_tags_filled(http: Http) -> None:
    box = {"type": "rectangle", "index": 3, "points": BOX}
    value = {"layers": {"vector_tagging": [{"shapes": [box], "group_type": None}]}}
    http.create(40, output_objects=value)
    assert http.sandbox.annotate(http.project) == 40
    moved = 0
    for answer in answers(http):
        (shape,) = shapes(answer["objects"])
        assert (shape["type"], shape["index"]) == ("rectangle", 3)
        assert shape["tags"]["kind"] in ("car", "bus")
        shift = {(x - a, y - b) for (x, y), (a, b) in zip(shape["points"], BOX, strict=True)}
        assert len(shift) == 1  # it stays a rectangle of its size
        assert max(map(abs, *shift)) <= 2
        assert all(isinstance(number, int) for point in shape["points"] for number in point)
        moved += shift != {(0, 0)}
    assert 5 < moved < 35


def test_the_older_list_of_rects_is_never_given_back(http: Http) -> None:
    http.create(1, output_objects=[{"type": "rect", "points": BOX}, {"type": "point", "points": [[1, 2]]}])
    http.sandbox.annotate(http.project)
    ((first, second),) = [shapes(answer["objects"]) for answer in answers(http)]
    assert [first["type"], second["type"]] == ["rectangle", "point"]
    assert [first["index"], second["index"]] == [1, 2]


def test_scalar_answers(sandbox: Sandbox) -> None:
    http = Http(sandbox, sandbox.create_project(INPUTS, SCALARS))
    http.create(1, output_checkbox={"rain": "1"}, output_menu="a | c", output_text="", output_radio="no")
    http.create(1)
    sandbox.annotate(http.project)
    given_before, invented = answers(http)
    assert given_before["checkbox"] == {"rain": "1", "sun": "0"}
    assert (given_before["menu"], given_before["text"], given_before["radio"]) == ("a|c", "", "no")
    assert set(invented) == set(SCALARS)
    assert set(invented["checkbox"]) == {"rain", "sun"}
    assert set(invented["checkbox"].values()) <= {"0", "1"}
    for name, output in outputs_of(SCALARS).items():
        output.check(json.dumps(invented[name]).encode())


@pytest.mark.parametrize(
    "type_", ["text", "date", "dropdown", "radio", "checkbox", "menu", "image", "raster", "video", "3d"]
)
def test_examples_and_inventions_fit_their_own_output(sandbox: Sandbox, type_: Any) -> None:
    http = Http(sandbox, sandbox.create_project(INPUTS, {"out": type_}))
    output = Output(type=type_)
    output.check(json.dumps(example(output)).encode())
    (from_nothing,) = http.create()
    (from_example,) = http.create(output_out=example(output))
    assert sandbox.annotate(http.project) == 2
    for task_id in (from_nothing, from_example):
        task = http.get(f"/tasks/{task_id}.json", same_as_delivery="true").body["task"]
        output.check(json.dumps(task["answers"]["out"]).encode())
        assert task["submitter_ids_by_step"]["Annotate"] == 501


def test_video_gets_a_place_for_each_frame(sandbox: Sandbox) -> None:
    http = Http(sandbox, sandbox.create_project(INPUTS, {"clip": "video"}))
    keys = [
        {"frame_number": 1, "visibility": 1, "points": [[0, 0]], "tags": {"lit": "no"}},
        {"frame_number": 3, "visibility": 1, "points": [[10, 20]]},
        {"frame_number": 4, "visibility": 0},
    ]
    group = {"shapes": [{"type": "point", "key_locations": keys}], "group_type": None, "frame_count": 6}
    http.create(1, output_clip=[group])
    sandbox.annotate(http.project)
    ((clip,),) = [answer["clip"] for answer in answers(http)]
    places = clip["shapes"][0]["locations"]
    assert [place["visibility"] for place in places] == [0, 1, 1, 1, 0, 0]
    assert [place.get("points") for place in places] == [None, [[0, 0]], [[5, 10]], [[10, 20]], None, None]
    assert places[3]["tags"] == {"lit": "no"}


json_numbers = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.tuples(st.integers(-999, 999), st.integers(0, 999), st.integers(-9, 9)).map(
        lambda n: f"{n[0]}.{n[1]:03d}e{n[2]}"
    ),
)


@settings(max_examples=25, deadline=None)
@given(numbers=st.lists(json_numbers, min_size=1, max_size=6), note=st.text())
def test_without_corrections_pre_annotations_come_back_to_the_byte(
    running_sandbox: Sandbox, numbers: list[str], note: str
) -> None:
    http = Http(running_sandbox, running_sandbox.create_project(INPUTS, {"cloud": "3d", "note": "text"}))
    cloud = "[" + ", ".join(numbers) + "]"
    text = json.dumps(note, ensure_ascii=True)
    http.upload(f'[{{"data":{{"url":"u","output_cloud":{cloud},"output_note":{text}}}}}]'.encode())
    assert running_sandbox.annotate(http.project, corrections=False) == 1
    url = f"{running_sandbox.base_url}/projects/{http.project}/tasks/delivered.json"
    body = http.pool.request("GET", f"{url}?access_key={running_sandbox.api_key}").data.decode()
    assert f'"answers":{{"cloud":{cloud},"note":{text}}}' in body


def test_urgent_tasks_come_first_and_fractions_add_up(http: Http) -> None:
    http.upload([{"data": {"url": str(n)}, "priority": -n} for n in range(10)])
    assert http.sandbox.annotate(http.project, 0.3) == 3
    tasks = http.sandbox.tasks(http.project)
    assert [task["state"] for task in tasks] == ["new"] * 7 + ["delivered"] * 3
    assert http.sandbox.annotate(http.project, task_ids=[tasks[0]["id"]]) == 1
    assert http.sandbox.annotate(http.project) == 6
    assert http.sandbox.annotate(http.project) == 0


def test_one_delivery_time_for_all(http: Http) -> None:
    http.create(3)
    http.sandbox.annotate(http.project, delivered_at="2024-05-05T05:05:05Z")
    delivered = http.get("/tasks/delivered.json").body["tasks"]
    assert {task["delivered_at"] for task in delivered} == {"2024-05-05T05:05:05.000Z"}


def test_assets_and_masks_are_signed_anew_at_every_read(sandbox: Sandbox) -> None:
    http = Http(sandbox, sandbox.create_project(INPUTS, {"seg": "raster"}))
    asset = sandbox.add_asset(b"\xff\xd8 not quite a jpeg", "photos/a 1.jpg".replace(" ", "_"), "image/jpeg")
    assert http.pool.request("GET", asset).data == b"\xff\xd8 not quite a jpeg"
    batch_id = http.upload([{"data": {"url": asset}}])
    sandbox.annotate(http.project)
    assert http.get(f"/batches/{batch_id}.json").body["created_count"] == 1

    def urls() -> list[str]:
        (task,) = http.get("/tasks/delivered.json").body["tasks"]
        return [task["data"]["url"], task["answers"]["seg"]["layers"]["raster_coding"]["mask_url"]]

    first = urls()
    sandbox.advance(4 * 3600 + 1)
    second = urls()
    assert [http.pool.request("GET", url).status for url in (*first, asset)] == [403, 403, 403]
    photo, mask = [http.pool.request("GET", url) for url in second]
    assert (photo.status, photo.headers["Content-Type"]) == (200, "image/jpeg")
    assert (mask.status, mask.data[:8]) == (200, b"\x89PNG\r\n\x1a\n")
    assert http.pool.request("GET", second[0].replace("a_1", "b_1")).status == 403
