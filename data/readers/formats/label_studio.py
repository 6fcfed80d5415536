"""Label Studio's JSON export: each annotator's choices for the image of a task."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from data.labels import LabelSet
from data.readers import targets
from data.readers.images import ImageRoot
from data.readers.json_array import objects
from data.readers.problems import Problems
from data.readers.record import Converter, Entry, Record
from data.readers.source import Source
from run.errors import UserError


def read(source: Source) -> Iterator[Record]:
    """Every task; one that nobody has annotated is unlabeled.

    Cancelled annotations and predictions do not count, an annotator counts once, with the latest annotation, and one
    that is also the ground truth counts like any other.
    """
    file = source.file()
    problems = Problems(file.uri)
    tasks = _Tasks(source, ImageRoot(source, file.folder))
    with source.opened(file) as path:
        named = (
            (f"{file.name}, task {task.get('id', number)}", task)
            for number, task in enumerate(objects(path, file.name), start=1)
        )
        yield from problems.each(named, tasks.record_of)
    problems.raise_any("no tasks")
    if source.labels is not None:
        tasks.require_choices(file.name)


@dataclass(frozen=True)
class _Tasks(Converter):
    """Converts tasks, and remembers which controls gave choices."""

    controls: set[str] = field(default_factory=set)

    def record_of(self, named: tuple[str, Mapping[str, Any]]) -> Record | None:
        where, task = named
        image_column = self.source.config.image_column
        data = task.get("data")
        if not isinstance(data, dict):
            raise UserError(f"{where}: no data; export the project as JSON, not as JSON-MIN or another format")
        if image_column not in data:
            raise UserError(f"{where}: data has no {image_column} but {', '.join(data) or 'nothing'}")

        def answer(labels: LabelSet) -> targets.Answer | None:
            choices = self._choices(task, labels, where)
            return targets.of_annotators(choices, labels, where) if choices else None

        return self.record(Entry(where=where, image=data[image_column], answer=answer, cells=data))

    def require_choices(self, name: str) -> None:
        """Refuse a file in which no annotation used the control."""
        wanted = self.source.config.from_name
        if not self.controls or (wanted is not None and wanted not in self.controls):
            there = f"; from_name {wanted!r} is none of {', '.join(sorted(self.controls))}" if self.controls else ""
            raise UserError(f"{name}: no annotation has choices{there}")

    def _choices(self, task: Mapping[str, Any], labels: LabelSet, where: str) -> list[list[str]]:
        """Each annotator's choices, the latest of each."""
        latest: dict[object, tuple[str, list[str]]] = {}
        for number, annotation in enumerate(_dicts(task.get("annotations"), "annotations", where)):
            if annotation.get("was_cancelled") or annotation.get("skipped"):
                continue
            chosen = self._chosen(annotation, where)
            if not chosen and labels.exclusive:
                continue
            annotator = _annotator(annotation.get("completed_by"), number)
            time = str(annotation.get("updated_at") or annotation.get("created_at") or "")
            if annotator not in latest or time >= latest[annotator][0]:
                latest[annotator] = (time, chosen)
        return [chosen for _, chosen in latest.values()]

    def _chosen(self, annotation: Mapping[str, Any], where: str) -> list[str]:
        wanted = self.source.config.from_name
        chosen: list[str] = []
        for result in _dicts(annotation.get("result"), "result", where):
            value = result.get("value")
            if result.get("type") != "choices" or not isinstance(value, dict):
                continue
            self.controls.add(str(result.get("from_name")))
            if wanted is None and len(self.controls) > 1:
                raise UserError(
                    f"{where}: choices of several controls ({', '.join(sorted(self.controls))}); "
                    "set from_name to the one that holds the labels"
                )
            if wanted in (None, result.get("from_name")):
                chosen += [str(choice) for choice in value.get("choices") or []]
        return list(dict.fromkeys(chosen))


def _annotator(completed_by: object, number: int) -> object:
    """The annotator; an annotation that does not say is its own annotator."""
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("id", completed_by.get("email"))
    return ("unnamed", number) if completed_by is None else str(completed_by)


def _dicts(value: object, key: str, where: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UserError(f"{where}: {key} is no list of objects; export the project as JSON")
    return value
