"""A sheet of pictures: images as the teacher and the students will see them, several views of each."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, zip_longest

from PIL import Image, ImageDraw, ImageFont

from data.config import ViewsConfig
from data.decode import DecodeError, decode
from data.readers import read
from data.readers.paths import file_name
from data.readers.source import Source
from data.storage import read_bytes, shown
from data.views import ViewSpec
from distill.config import StudentConfig
from models.building import look_up_spec
from models.spec import InputSpec
from run.errors import UserError
from train.config import TeacherConfig

READ = 5000
"""Records that images are picked from."""
TILE = 224
"""Pixels a side at most; larger renders are shrunk, and the caption says to what share."""
LIKELY = 0.5
GAP = 8
LINE = 22
BACKGROUND = (250, 250, 250)
INK = (30, 30, 30)


@dataclass(frozen=True)
class Picture:
    """One image to show."""

    image_id: str
    """As in the manifest, so that its views are those of the run."""
    caption: str
    image: Image.Image


def pick(source: Source, count: int) -> list[Picture]:
    """Some images of a source, of its labels in turn.

    Raises:
        UserError: the source is wrong, or none of its first images can be read.
    """
    assert source.labels is not None
    by_label: dict[str, list[str]] = {}
    for record in islice(read(source), READ):
        by_label.setdefault(_named(record.target, source.labels.names), []).append(record.uri)
    lists = [[(label, uri) for uri in _spread(uris)] for label, uris in by_label.items()]
    turns = [one for row in zip_longest(*lists) for one in row if one is not None]
    pictures: list[Picture] = []
    for label, uri in turns:
        if len(pictures) == count:
            break
        with suppress(OSError, DecodeError):  # `prepare` says which images cannot be read
            data = read_bytes(uri)
            caption = f"{label}: {shown(file_name(uri))}"
            pictures.append(Picture(hashlib.sha256(data).hexdigest(), caption, decode(data)))
    if not pictures:
        raise UserError(f"{source.key_of('path')}: none of the first images can be read; `pocketeva prepare` says why")
    return pictures


def specs_of(teacher: TeacherConfig, students: Sequence[StudentConfig]) -> dict[str, InputSpec]:
    """The input contract of each model by its name; no weights of timm's are fetched.

    Raises:
        UserError: there is no such model.
    """
    spec = look_up_spec(teacher.model, key="teacher", pretrained=teacher.pretrained, image_size=teacher.image_size)
    specs = {"teacher": spec.squashed() if teacher.resize == "squash" else spec}
    for one in students:
        spec = look_up_spec(one.model, key=one.name, pretrained=one.pretrained, image_size=one.image_size)
        specs[one.name] = spec.squashed()
    return specs


def draw_sheet(
    pictures: Sequence[Picture], views: ViewsConfig, specs: Mapping[str, InputSpec], count: int
) -> Image.Image:
    """The sheet: for each image a row for each model, by its name, and in it the views."""
    row = LINE + TILE + GAP
    height = GAP + len(pictures) * (LINE + GAP + len(specs) * row)
    sheet = Image.new("RGB", (GAP + count * (TILE + GAP), height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    drawn = ViewSpec.of(views)
    top = GAP
    for picture in pictures:
        draw.text((GAP, top), picture.caption, INK, ImageFont.load_default(17))
        top += LINE + GAP
        for name, spec in specs.items():
            side = min(TILE, spec.size)
            scale = "" if side == spec.size else f", shown at {side / spec.size:.0%}"
            draw.text((GAP, top), f"{name}, {spec.size} px{scale}: the whole image, then views", INK, font)
            for index in range(count):
                view = drawn.draw(picture.image_id, index, *picture.image.size)
                tile = Image.fromarray(spec.render(picture.image, view))
                sheet.paste(tile.resize((side, side)), (GAP + index * (TILE + GAP), top + LINE))
            top += row
    return sheet


def _named(target: Sequence[float] | None, names: Sequence[str]) -> str:
    """Every label that is likelier than not."""
    if target is None:
        return "unlabeled"
    likely = [name for name, share in zip(names, target, strict=True) if share >= LIKELY]
    return ", ".join(likely) or "no label"


def _spread(uris: Sequence[str]) -> list[str]:
    """Images from all over the list first: neighbors are often alike."""
    step = max(1, len(uris) // 8)
    return [uri for start in range(step) for uri in uris[start::step]]
