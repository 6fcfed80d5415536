import json
from pathlib import Path
from typing import Any

import pytest

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers import json_array
from data.readers.formats.label_studio import read
from data.readers.record import Record
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO

MANY = LabelSet(("sound", "broken"), "multilabel")


def choices(*names: str, control: str = "grade") -> dict[str, Any]:
    return {"from_name": control, "to_name": "image", "type": "choices", "value": {"choices": list(names)}}


def annotation(*results: dict[str, Any], by: Any = 1, **more: Any) -> dict[str, Any]:
    return {"completed_by": by, "was_cancelled": False, "result": list(results), **more}


def task(*annotations: dict[str, Any], number: int = 1, image: Any = "a.png", **data: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": image, **data}, "annotations": list(annotations)}


def records(folder: Path, tasks: object, labels: LabelSet | None = TWO, **settings: Any) -> list[Record]:
    path = folder / "tasks.json"
    path.write_text(tasks if isinstance(tasks, str) else json.dumps(tasks, indent=1))
    return list(read(Source(SourceConfig(format="label_studio", path=str(path), **settings), labels, folder)))


def test_read__every_annotator_is_a_vote_and_not_the_first_one_of_the_file(tmp_path: Path) -> None:
    found = records(
        tmp_path,
        [
            task(annotation(choices("broken")), number=12),
            task(
                annotation(choices("sound")),
                annotation(choices("broken"), by=2),
                annotation(choices("broken"), by={"id": 3}),
            ),
        ],
    )
    assert [(r.target, r.votes, r.where) for r in found] == [
        ((0.0, 1.0), None, "tasks.json, task 12"),
        ((1 / 3, 2 / 3), (1.0, 2.0), "tasks.json, task 1"),
    ]


def test_read__what_does_not_count(tmp_path: Path) -> None:
    counted = annotation(choices("sound"), ground_truth=True)
    found = records(
        tmp_path,
        [
            task(annotation(choices("broken"), by=2, was_cancelled=True), counted, annotation(by=4)),
            {**task(number=2), "predictions": [annotation(choices("broken"))]},
            task(annotation(choices("broken"), by=5, skipped=True), number=3),
            {"id": 4, "data": {"image": "a.png"}},
        ],
    )
    assert [(r.target, r.votes, r.split) for r in found] == [((1.0, 0.0), None, None), *[(None, None, "unlabeled")] * 3]


def test_read__an_annotator_counts_once_with_the_latest(tmp_path: Path) -> None:
    old, new = ({"updated_at": f"2026-01-0{day}T10:00:00Z"} for day in (1, 2))
    (record,) = records(
        tmp_path,
        [
            task(
                annotation(choices("broken"), **new),
                annotation(choices("sound"), **old),
                annotation(choices("broken"), by=2),
            )
        ],
    )
    assert (record.target, record.votes) == ((0.0, 1.0), (0.0, 2.0))


def test_read__the_named_control_alone(tmp_path: Path) -> None:
    tasks = [task(annotation(choices("dark", control="light"), choices("broken")))]
    (record,) = records(tmp_path, tasks, from_name="grade")
    assert record.target == (0.0, 1.0)
    with pytest.raises(UserError, match=r"several controls \(grade, light\); set from_name"):
        records(tmp_path, tasks)
    with pytest.raises(UserError, match="no annotation has choices; from_name 'rating' is none of grade, light"):
        records(tmp_path, tasks, from_name="rating")


def test_read__several_labels_are_shares_of_annotators(tmp_path: Path) -> None:
    tasks = [task(annotation(choices("sound", "broken")), annotation(choices("broken"), by=2), annotation(by=3))]
    (record,) = records(tmp_path, tasks, MANY)
    assert record.target == (1 / 3, 2 / 3)


@pytest.mark.parametrize(
    ("image", "uri"),
    [
        ("in/a.png", "{root}/in/a.png"),
        ("{root}/a.png", "{root}/a.png"),
        ("/data/local-files/?d=in/a%20b.png", "{root}/in/a b.png"),
        ("http://localhost:8080/data/local-files/?d=in/a.png", "{root}/in/a.png"),
        ("/data/upload/3/a.png", "{root}/upload/3/a.png"),
    ],
)
def test_read__images_below_the_root(tmp_path: Path, image: str, uri: str) -> None:
    tasks = [task(annotation(choices("sound")), image=image.format(root=tmp_path))]
    assert records(tmp_path, tasks)[0].uri == uri.format(root=tmp_path)


def test_read__uris_need_their_root(tmp_path: Path) -> None:
    tasks = [task(annotation(choices("sound")), image="s3://bucket/a.png")]
    assert records(tmp_path, tasks, image_root="s3://bucket")[0].uri == "s3://bucket/a.png"
    with pytest.raises(UserError, match="outside the image root"):
        records(tmp_path, tasks)


def test_read__other_keys_splits_groups_and_pools(tmp_path: Path) -> None:
    tasks = [
        {"id": 1, "data": {"photo": "a.png", "part": "test", "who": 7}, "annotations": [annotation(choices("sound"))]}
    ]
    settings: dict[str, Any] = {"image_column": "photo", "split_column": "part", "group_column": "who"}
    (record,) = records(tmp_path, tasks, **settings)
    assert (record.split, record.group) == ("test", "7")
    (record,) = records(tmp_path, tasks, None, **settings)
    assert (record.target, record.split, record.group) == (None, None, "7")


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("", "is empty"),
        ("[]", "no tasks"),
        ("{}", "no list of tasks"),
        ('[\n{"id": 1},\n{"id": }]', "line 3: not JSON"),
        ('[{"id": 1}', "line 1: not JSON .*end of the list is missing"),
        ("[1]", "an object or the end of the list is missing"),
        (
            [{"id": 5, "image": "a.png", "choice": "sound"}],
            "task 5: no data; export the project as JSON, not as JSON-MIN",
        ),
        ([{"id": 5, "data": {"text": "x"}}], "task 5: data has no image but text"),
        ([task(annotation(choices("brocken")))], "task 1: label 'brocken'.*did you mean 'broken'"),
        ([task(annotation(choices("sound", "broken")))], "task 1: 2 labels"),
        ([task(annotation(choices("sound")), image=None)], "task 1: no image path"),
        ([{**task(), "annotations": {"a": 1}}], "task 1: annotations is no list"),
        ([task(annotation({"type": "rectanglelabels", "value": {}}))], "no annotation has choices"),
        ([task(annotation(choices("odd")), number=n) for n in range(12)], "12 problems.*task 0.*… and 2 more"),
    ],
)
def test_read__wrong_files(tmp_path: Path, tasks: object, message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        records(tmp_path, tasks)


def test_read__not_utf8(tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_bytes(b'[{"id": "\xff"}]')
    with pytest.raises(UserError, match=r"not UTF-8 \(byte 9\)"):
        list(read(Source(SourceConfig(path=str(tmp_path / "tasks.json")), TWO, tmp_path)))


@pytest.mark.parametrize("size", [1, 7, 64])
def test_read__tasks_may_lie_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(json_array, "_CHUNK", size)
    names = [f"]}}{number}ö{'long ' * 40}.png" for number in range(20)]
    tasks = [task(annotation(choices("broken")), number=number, image=name) for number, name in enumerate(names)]
    assert [r.uri for r in records(tmp_path, tasks)] == [str(tmp_path / name) for name in names]
