"""``verify/errors.html``: the worst errors and disagreements with their pictures, one page without any other file."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.decode import DecodeError, decode
from data.doubts import SUSPECTS, read_suspects_file
from data.manifest import CONFLICT, Manifest
from data.storage import read_bytes
from export.release import TEACHER, Release
from models.decision import Decisions
from run.console import progress
from run.errors import plural
from run.folder import RunFolder
from run.template import render
from verify.predictions import PREDICTIONS, Predictions, make_key
from verify.table import named, paths_of, truths

MOST = 40
"""Images in a section."""
SIDE = 180
"""Pixels of a picture's longer side."""


@dataclass(frozen=True)
class Card:
    """One image, and what is said of it."""

    uri: str
    lines: Sequence[tuple[str, str]]
    """Who says it, and what."""


@dataclass(frozen=True)
class Section:
    """Images with something in common, the worst first."""

    title: str
    about: str
    cards: Sequence[Card]
    total: int
    """Images of this kind, of which the cards show the first."""


def gallery(run: RunFolder, manifest: Manifest, students: Sequence[str]) -> str:
    """The page for a verified run, from its predictions, its manifest and its list of suspects.

    Raises:
        UserError: the run is not verified yet.
    """
    predictions = Predictions.read(run.verify / PREDICTIONS)
    test = predictions.split("test").one_per_group()
    uris = paths_of(test, manifest, make_key(run.verify / "key"))
    release = Release(run.release)
    files = {name: release.model(name).reference.name for name in (TEACHER, *students)}
    sections = [_errors(name, file, test, uris) for name, file in files.items()]
    sections += [disagreements(name, files, test, uris) for name in students]
    sections += [*_suspects(run), *_conflicts(manifest)]
    return page(f"Errors of {run.root.name}", sections)


def page(title: str, sections: Sequence[Section]) -> str:
    """The HTML text, from ``gallery.html``."""
    with progress("pictures", sum(len(section.cards) for section in sections)) as advance:

        def picture(uri: str) -> str | None:
            advance(1)
            return thumbnail(uri)

        values = {"title": title, "sections": sections, "picture": picture, "plural": plural}
        return render(Path(__file__).with_suffix(".html"), values)


def _errors(name: str, file: str, test: Predictions, uris: Sequence[str]) -> Section:
    told = np.flatnonzero(test.labels.has_truth(test.targets))
    part = test.take(told)
    said = part.decisions(file)
    truth = part.truth()
    rows = _worst(part, file, said, truth)
    words = named(said, test.labels)
    true = truths(part)
    cards = [Card(uris[told[row]], [("label", true[row]), (name, words[row])]) for row in rows[:MOST]]
    about = f"Test images of which {name} is surest of another label than the given one: its errors, or the label's."
    return Section(f"{name}: errors", about, cards, len(rows))


def disagreements(name: str, files: Mapping[str, str], test: Predictions, uris: Sequence[str]) -> Section:
    """Images on which a student and its teacher differ, those first of which it is surest.

    Args:
        files: the float32 file of each model.
        test: independent test images [N].
        uris: theirs [N].
    """
    said, teacher = (test.decisions(files[one]) for one in (name, TEACHER))
    rows = _worst(test, files[name], said, teacher)
    true = truths(test)
    mine = named(said, test.labels)
    theirs = named(teacher, test.labels)
    cards = [Card(uris[row], [("label", true[row]), (TEACHER, theirs[row]), (name, mine[row])]) for row in rows[:MOST]]
    return Section(f"{name}: disagreements with the teacher", "The surest first.", cards, len(rows))


def _worst(predictions: Predictions, file: str, said: Decisions, wanted: Decisions) -> list[int]:
    """Rows where a file said something else than wanted, those first where it was surest of that."""
    differ = ~predictions.files[file].rule.same(said, wanted)
    p = predictions.probabilities(file)
    surplus: NDArray[np.floating]
    if said.ndim == 1:
        every = np.arange(len(p))
        surplus = p[every, said] - p[every, wanted]
    else:
        surplus = np.abs(p - wanted).max(1)
    order: list[int] = np.argsort(-surplus, kind="stable").tolist()
    return [row for row in order if differ[row]]


def _suspects(run: RunFolder) -> Iterator[Section]:
    found = read_suspects_file(run.data / SUSPECTS)
    if found:
        cards = [
            Card(
                one.uri,
                [
                    ("label", f"{one.given} ({one.probability_of_given:.0%})"),
                    ("rather", f"{one.suggested} ({one.probability_of_suggested:.0%})"),
                    ("split", one.split),
                ],
            )
            for one in found[:MOST]
        ]
        about = "Labels that are likely wrong, as `pocketeva prepare --suspects` found them; the likeliest first."
        yield Section("suspect labels", about, cards, len(found))


def _conflicts(manifest: Manifest) -> Iterator[Section]:
    table = manifest.table.select(["uri", "status"]).to_pylist()
    rows = [row for row in table if row["status"].startswith(CONFLICT)]
    if rows:
        cards = [Card(row["uri"], [("", row["status"])]) for row in rows[:MOST]]
        about = "Files that show one picture and have different labels. They take no part."
        yield Section("conflicting duplicates", about, cards, len(rows))


def thumbnail(uri: str) -> str | None:
    """A small copy as an address that holds it, nothing of the file but its pixels; null where it cannot be read."""
    try:
        image = decode(read_bytes(uri))
    except (OSError, DecodeError, ValueError):
        return None
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
