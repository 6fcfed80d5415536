"""``pocketeva init``: from images and labels to a commented config that runs as it is."""

import json
import math
import os
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml

from data.config import DataConfig, Kind, SourceConfig, SplitsConfig
from data.storage import is_remote
from models.facts import public_name
from run.config import plain_name
from run.console import log
from run.errors import UserError, plural, quoted
from run.files import write_text
from run.overrides import override
from run.parse import build
from run.schema import joined
from run.text import escaped
from run.yaml_text import read_yaml
from start.choose import (
    Choice,
    Hardware,
    Sizes,
    choose,
    find_hardware,
    may_differ,
    minutes,
    student_section,
    teacher_section,
)
from start.kinds import Guess, guess_kind
from start.look import Found, look, require_tidy

SCHEMA = Path(__file__).resolve().parents[1] / "configs" / "schema.json"
"""By which editors complete and check a config; made by ``pocketeva config --schema``."""
_WIDTH = 116
LARGE = 2
"""Images more than so many times as large as the models look at are worth working copies."""


def init(
    kind: type,
    path: str,
    overrides: Sequence[str],
    *,
    file: Path | None,
    teacher: str | None = None,
    student: str | None = None,
    from_scratch: bool = False,
) -> Path:
    """Write a config for what lies at a path, and say what was guessed.

    Args:
        file: where to write; null takes the path's name.

    Raises:
        UserError: it is there already, or no config can be made.
    """
    place = os.path.normpath(os.path.expanduser(path))  # noqa: PTH111 - it may be a URI or a Hub id
    name = plain_name(Path(os.path.realpath(place) if place == "." else place).stem) or "run"
    file = file or Path(f"{name}.yaml")
    if file.exists():
        raise UserError(f"{quoted(file)} is there already: move it away, or give another name with --config")
    # Before anything is looked at: a wrong key is said at once.
    given: dict[str, Any] = {"name": name, "labels": {"names": ["a", "b"]}, "data": {"path": path}}
    config: Any = build(kind, given, overrides, "init")
    kind_told = given["labels"].get("kind")
    teacher = teacher or given.get("teacher", {}).get("model")
    student = student or given.get("students", [{}])[0].get("model")
    hardware = find_hardware()
    found = look(config.data)
    require_tidy(found)
    guess = guess_kind(list(found.images), exclusive=found.exclusive)
    if kind_told not in (None, guess.kind):
        guess = guess._replace(kind=kind_told, why="you said so")
    choice = choose(_sizes(found, config.data.splits), hardware, teacher, student)
    values = _values(found, guess, choice, config.data, hardware, from_scratch=from_scratch)
    override(kind, values, {}, overrides)
    config = build(kind, {"name": name, **values}, [], str(file))
    notes = dict(_notes(found, guess, config, hardware, teacher, from_scratch=from_scratch))
    header = [
        f"yaml-language-server: $schema={SCHEMA}",
        f"Written by `pocketeva init {shlex.quote(path)}`. To run it: pocketeva run {shlex.quote(str(file))}",
    ]
    write_text(file, render(values, notes, header))
    for key, note in notes.items():
        value = attrgetter(key)(config)
        log.print(f"{key}{f' {value}' if isinstance(value, str) else ''}: {note}", soft_wrap=True)
    return file


def _values(
    found: Found, guess: Guess, choice: Choice, given: SourceConfig, hardware: Hardware, *, from_scratch: bool
) -> dict[str, Any]:
    """All that the config says."""
    values: dict[str, Any] = {
        "labels": {"names": guess.names, "kind": guess.kind},
        "data": _data(found, given),
        "teacher": teacher_section(choice, from_scratch=from_scratch),
        "views": {"count": choice.views},
        "students": [student_section(choice, from_scratch=from_scratch)],
    }
    if not hardware.gpu:
        values["export"] = {"int8": {"mode": "quick"}}
    values["verify"] = {"agreement": choice.agreement}
    largest = 448 if "448" in values["teacher"]["model"] else 336
    if found.short_side is not None and found.short_side > LARGE * largest:
        values["data"]["working_size"] = LARGE * largest
    return values


def render(values: Mapping[str, Any], notes: Mapping[str, str], header: Sequence[str]) -> str:
    """The YAML text of a config's values, each note, which goes by path, a comment above its key."""
    # A name of others must not end a comment.
    lines = [f"# {escaped(line, one_line=True)}" for line in header]
    return "\n".join([*lines, *_lines(values, notes, "", "")]) + "\n"


def _data(found: Found, given: SourceConfig) -> dict[str, Any]:
    """The keys of ``data`` that differ from their defaults; paths as the user would write them."""
    defaults = asdict(DataConfig())
    kept = {key: value for key, value in asdict(found.config).items() if value != defaults[key]}
    relative = not is_remote(given.path) and not Path(given.path).expanduser().is_absolute()
    for key in ("path", "image_root"):
        if relative and not is_remote(kept.get(key, "://")):
            kept[key] = os.path.relpath(kept[key])
    return {key: kept[key] for key in sorted(kept, key=lambda key: key not in ("format", "path"))}


def _sizes(found: Found, drawn: SplitsConfig) -> Sizes:
    labeled = found.total - found.splits.get("unlabeled", 0)
    held = {
        name: found.splits.get(name) or round(getattr(drawn, name) * labeled) for name in ("val", "calibration", "test")
    }
    return Sizes(train=max(1, found.total - sum(held.values())), **held)


def _notes(
    found: Found, guess: Guess, config: Any, hardware: Hardware, teacher: str | None, *, from_scratch: bool
) -> Iterator[tuple[str, str]]:
    """By path, what is said of a value: of the config as it is written, the user's own keys included."""
    sizes = _sizes(found, config.data.splits)
    counts = ", ".join(f"{name} {found.images[name]:,}" for name in guess.names[:20])
    more = f" and {len(guess.names) - 20} more" if len(guess.names) > 20 else ""
    yield "labels", f"{plural(found.total, 'image')} with {plural(len(guess.names), 'label')}: {counts}{more}"
    yield "labels.kind", f"because {guess.why}; {_OTHER_KINDS[guess.kind]}"
    size = "" if found.short_side is None else f"; the shorter side of half of them is {found.short_side} px or more"
    splits = ", ".join(f"{name} {count:,}" for name, count in found.splits.items() if name)
    drawn = f"splits as given: {splits}" if splits else f"no splits given: {_shares(config.data.splits)}"
    yield "data", "; ".join([*found.reasons, drawn]) + size
    if from_scratch:
        yield "teacher", f"starts from random weights, as you said, for {hardware}; pretrained ones do far better"
    else:
        why = "as you said" if teacher else f"the largest that so many images leave time for with {hardware}"
        weights = "; its weights come from the Hugging Face Hub, or give a downloaded folder with --teacher"
        yield "teacher", why if teacher and not public_name(teacher) else why + weights
        yield (
            "teacher.mode",
            "head trains the last layer on features computed once; lora and probe_then_full, for a GPU, train more",
        )
    yield "views", "how many views of each image the teacher labels, the whole one among them"
    yield (
        "students",
        f"the model for the device; epochs and batch suit the number of images{_time(config, sizes, hardware)}",
    )
    yield "export", "quick tries a few INT8 settings; full, which takes long on a CPU, tries all"
    yield (
        "verify",
        "the agreement with the teacher that the student has to show: of about "
        f"{sizes.test:,} test images it may differ on {may_differ(sizes.test, config.verify.agreement)}",
    )


def _shares(splits: SplitsConfig) -> str:
    held = {name: getattr(splits, name) for name in ("val", "calibration", "test")}
    shares = {"train": 1 - sum(held.values()), **held}
    return ", ".join(f"{100 * share:.3g} % {name}" for name, share in shares.items())


def _time(config: Any, sizes: Sizes, hardware: Hardware) -> str:
    """A guess at the time of training, where it is known of what is trained."""
    epochs = sum(one.fit.epochs * (2 if one.baseline else 1) for one in config.students)
    guess = minutes(sizes, hardware, config.teacher.model, config.views.count, epochs)
    if guess is None or config.teacher.mode != "head":
        return ""
    return f"; training takes very roughly {math.ceil(guess):,} min here"


_OTHER_KINDS: Mapping[Kind, str] = {
    "nominal": "if their order means something, give --labels.kind ordinal and check it: mildest first",
    "ordinal": "check the order, mildest first; if it means nothing, give --labels.kind nominal",
    "multilabel": "each label is decided by itself",
}


def _lines(values: Mapping[str, Any], notes: Mapping[str, str], where: str, indent: str) -> Iterator[str]:
    for key, value in values.items():
        path = joined(where, key)
        note = " ".join(notes.get(path, "").split())
        lines = textwrap.wrap(note, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
        yield from (f"{indent}# {escaped(line)}" for line in lines)
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from _lines(value, notes, path, f"{indent}  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{indent}{key}:"
            for index, element in enumerate(value):
                first, *rest = _lines(element, notes, f"{path}[{index}]", f"{indent}    ")
                yield from (f"{indent}  - {first.strip()}", *rest)
        else:
            yield f"{indent}{key}: {written(value)}"


def written(value: object) -> str:
    """A plain value or a list of them as one line of YAML, which reads back as it is."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True).removesuffix("...\n").strip()
    # The writer keeps to YAML 1.1, where 1e3 is text; JSON is YAML too, and leaves nothing open.
    return text if read_yaml(text)[0] == value else json.dumps(value, ensure_ascii=False)
