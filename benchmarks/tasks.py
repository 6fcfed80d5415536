"""Data sets with a teacher that the product has trained on them, for figures of accuracy and agreement."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import t as student_t

from benchmarks import common, lite, material
from benchmarks.npm import fetch
from cache.frozen import FrozenModel
from cache.passes import output_for_students
from data.config import DataConfig, LabelsConfig, SplitsConfig, ViewsConfig
from data.examples import Examples
from data.labels import LabelSet
from data.manifest import Manifest
from data.prepare import prepare
from distill.config import StudentConfig
from fitting.config import FitConfig
from models import checkpoint
from models.classifier import Classifier
from models.facts import CheckpointFacts
from models.forward import whole_image_logits
from pocketeva import read_config
from run.config import TrainerConfig
from run.context import RunContext
from train.config import ImageFitConfig, TeacherConfig
from train.teacher import load_teacher
from train.train import train

DEMO = Path(__file__).resolve().parents[1] / "configs" / "demo.yaml"
DIGIT_PIXELS = 32
FEW_LABELS_PIXELS = 96
DRAWING_PIXELS = 64
DRAWINGS = tuple(f"emoji-datasource-{vendor}@16.0.0" for vendor in ("apple", "facebook", "google", "twitter"))
"""npm's packages of the emoji as each vendor draws them; 330 MB are fetched."""
LABELED = 0.6
"""Share of the photographs whose labels are not hidden, held-out ones included."""
LABELED_SPLITS = SplitsConfig(val=0.1, calibration=0.05, test=0.5)
SCARCE_LABELED = 0.3
SCARCE_SPLITS = SplitsConfig(val=0.07, calibration=0.03, test=0.65)
"""With that share, 212 of 1,826 photographs to learn from have a label."""
DRAWINGS_LABELED = 0.47
"""Share of the emoji whose labels are not hidden: 1,471 of 5,160 drawings to learn from have a label."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A data set, its models, and how they are trained; teacher and student have inputs of one size."""

    labels: LabelsConfig
    data: DataConfig
    views: ViewsConfig
    teacher: TeacherConfig
    student: StudentConfig


@dataclass(frozen=True, kw_only=True)
class Task:
    """A recipe whose images are prepared and whose teacher is trained."""

    recipe: Recipe
    context: RunContext
    manifest: Manifest
    teacher: Classifier
    teacher_seconds: float

    @property
    def train(self) -> Manifest:
        """The labeled rows to learn from."""
        return self.manifest.usable("train")

    @property
    def taught(self) -> Manifest:
        """The rows that a student learns from where a teacher teaches it."""
        return self.manifest.usable("train", "unlabeled")

    @property
    def test(self) -> Manifest:
        """The rows that they are judged on."""
        return self.manifest.usable("test")

    def examples(self, rows: Manifest) -> Examples:
        """Rows with the recipe's views, of working copies where the recipe has them."""
        return Examples.make_working_copies(rows, self.recipe.views, self.context)

    def frozen_teacher(self) -> FrozenModel:
        """The teacher with its cache."""
        return FrozenModel(self.teacher, output_for_students(self.recipe.teacher.mode), self.context)

    def facts(self) -> dict[str, object]:
        """Its size and models, and the teacher's own accuracy, for the report."""
        recipe = self.recipe
        return {
            "teacher": {
                "model": Path(recipe.teacher.model).name,  # without the folder of this process
                "seconds": self.teacher_seconds,
                "accuracy": self.accuracy(self.decided(self.teacher)),
            },
            "student": Path(recipe.student.model).name,
            "size": recipe.student.image_size,
            "labeled_images": len(self.train),
            "unlabeled_images": len(self.taught) - len(self.train),
            "test_images": len(self.test),
        }

    def decided(self, model: Classifier) -> NDArray[np.intp]:
        """Label index [N] of each test image, whole."""
        originals = Examples.of_originals(self.test, self.recipe.views)
        logits = whole_image_logits(model, originals, self.context.trainer, "32-true", "judging")
        return np.asarray(logits.argmax(1), np.intp)

    def accuracy(self, decided: NDArray[np.intp]) -> float:
        """Share of test images on which these decisions [N] are right."""
        return float((decided == self.test.labels.truth(self.test.targets())).mean())

    def judge(self, student: Classifier, taught: NDArray[np.intp]) -> dict[str, float]:
        """A student's accuracy, and its agreement with what the teacher decided [N]."""
        said = self.decided(student)
        return {"accuracy": self.accuracy(said), "agreement": float((said == taught).mean())}


def elpv(_: Path) -> Recipe:
    """The demo's photographs and models; its teacher has one epoch more."""
    demo = read_config(DEMO)
    teacher = replace(demo.teacher, full=replace(demo.teacher.full, epochs=3))
    views = replace(demo.views, count=2)
    return Recipe(labels=demo.labels, data=demo.data, views=views, teacher=teacher, student=demo.students[0])


def digits(folder: Path) -> Recipe:
    """scikit-learn's digits, enlarged from 8 pixels a side, as PNG files in a folder for each label."""
    from sklearn.datasets import load_digits  # seconds that only this needs

    found = load_digits()
    names = [str(digit) for digit in range(10)]
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, (pixels, label) in enumerate(zip(found.images, found.target, strict=True)):
        image = Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).convert("RGB")
        large = image.resize((DIGIT_PIXELS, DIGIT_PIXELS), Image.Resampling.BICUBIC)
        large.save(folder / names[label] / f"{number}.png")
    fit = ImageFitConfig(epochs=5, batch_size=32, lr=1e-3, ema_decay=0.95)
    return Recipe(
        labels=LabelsConfig(names=names),
        data=DataConfig(format="folder", path=str(folder), splits=SplitsConfig(val=0.1, calibration=0.1, test=0.3)),
        views=ViewsConfig(count=2, crop_scale=(0.7, 1.0), horizontal_flip=False),
        teacher=TeacherConfig(
            model="resnet18",
            pretrained=False,
            image_size=DIGIT_PIXELS,
            resize="squash",
            mode="full",
            layer_decay=1.0,
            drop_path=0.0,
            full=fit,
        ),
        student=StudentConfig(
            name="student",
            model="test_efficientnet",
            pretrained=False,
            image_size=DIGIT_PIXELS,
            fit=FitConfig(epochs=32, batch_size=32, lr=4e-3, ema_decay=0.95),
        ),
    )


def few_labels(folder: Path, labeled: float = LABELED, splits: SplitsConfig = LABELED_SPLITS) -> Recipe:
    """The demo's photographs, some without a label; a head on ImageNet features teaches untrained students."""
    import elpv_dataset  # the demo extra

    folder.mkdir(parents=True, exist_ok=True)
    demo = read_config(DEMO)
    names = LabelSet.of(demo.labels).names
    root = Path(str(elpv_dataset.__file__)).parent / "data"
    cells = [line.split() for line in (root / "labels.csv").read_text(encoding="utf-8").splitlines()]
    hidden = np.random.default_rng(0).random(len(cells)) >= labeled
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", *names, "split"])
        for (name, likelihood, _), hide in zip(cells, hidden, strict=True):
            defective = round(float(likelihood) * 3)
            table.writerow([name, 3 - defective, defective, "unlabeled" if hide else ""])
    # The demo's rate, 4e-3, was better than 1.5e-3 for `kl`, on one seed, and no better for labels (docs/log.md).
    student = replace(demo.students[0], image_size=FEW_LABELS_PIXELS)
    return Recipe(
        labels=demo.labels,
        data=DataConfig(
            format="csv",
            path=str(folder / "images.csv"),
            image_root=str(root),
            label_columns=list(names),
            split_column="split",
            splits=splits,
            working_size=2 * FEW_LABELS_PIXELS,  # decoding the photographs would take as long as learning from them
        ),
        views=demo.views,
        teacher=TeacherConfig(
            model=imagenet_weights(2, folder), image_size=FEW_LABELS_PIXELS, resize="squash", mode="head"
        ),
        student=student,
    )


def scarce_labels(folder: Path) -> Recipe:
    """``few_labels`` with a label for one in nine of the photographs to learn from."""
    return few_labels(folder, SCARCE_LABELED, SCARCE_SPLITS)


def pretrained_students(folder: Path) -> Recipe:
    """``few_labels`` for a student with ImageNet weights."""
    recipe = few_labels(folder)
    fit = replace(recipe.student.fit, lr=1e-3)
    student = replace(recipe.student, model=imagenet_weights(0, folder), pretrained=True, fit=fit)
    return replace(recipe, student=student)


def drawings(folder: Path) -> Recipe:
    """Emoji by four vendors, of nine kinds, half of them without a label; one emoji by all vendors is in one split."""
    folder.mkdir(parents=True, exist_ok=True)
    fetch(folder, *DRAWINGS)
    modules = folder / "node_modules"
    vendors = [package.rpartition("@")[0] for package in DRAWINGS]
    listed = json.loads((modules / vendors[0] / "emoji.json").read_text(encoding="utf-8"))
    shown = [emoji for emoji in listed if emoji["category"] != "Component"]
    hidden = np.random.default_rng(0).random(len(shown)) >= DRAWINGS_LABELED
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "split", "group"])
        for emoji, hide in zip(shown, hidden, strict=True):
            for vendor in vendors:
                image = Path(vendor) / "img" / vendor.rpartition("-")[2] / "64" / emoji["image"]
                if (modules / image).is_file():
                    table.writerow([image, emoji["category"], "unlabeled" if hide else "", emoji["unified"]])
    student = read_config(DEMO).students[0]
    return Recipe(
        labels=LabelsConfig(names=sorted({emoji["category"] for emoji in shown})),
        data=DataConfig(
            format="csv",
            path=str(folder / "images.csv"),
            image_root=str(modules),
            split_column="split",
            group_column="group",
            splits=SplitsConfig(val=0.07, calibration=0.05, test=0.47),
        ),
        views=ViewsConfig(),
        teacher=TeacherConfig(
            model=imagenet_weights(2, folder, DRAWING_PIXELS), image_size=DRAWING_PIXELS, resize="squash", mode="head"
        ),
        student=replace(student, image_size=DRAWING_PIXELS),
    )


def drawings_fine_tuned(folder: Path) -> Recipe:
    """``drawings`` with a teacher whose weights are all trained, from the probe on."""
    recipe = drawings(folder)
    fit = ImageFitConfig(epochs=10, batch_size=32, lr=3e-4, weight_decay=0.05, ema_decay=0.99)
    return replace(recipe, teacher=replace(recipe.teacher, mode="probe_then_full", full=fit, layer_decay=1.0))


def imagenet_weights(number: int, folder: Path, pixels: int = FEW_LABELS_PIXELS) -> str:
    """The folder of an EfficientNet-Lite whose head is for other labels, so that a new one is made."""
    labels = LabelSet(("one", "another", "a third"), "nominal")
    classifier = lite.pretrained(number, pixels, labels, seed=0)
    path = folder / f"lite{number}"
    checkpoint.save(classifier, path, CheckpointFacts(labels=labels, uncalibrated="has a random head"))
    return str(path)


RECIPES = {
    "elpv": elpv,
    "digits": digits,
    "few_labels": few_labels,
    "scarce_labels": scarce_labels,
    "pretrained_students": pretrained_students,
    "drawings": drawings,
    "drawings_fine_tuned": drawings_fine_tuned,
}


def prepared(folder: Path, name: str, trainer: TrainerConfig, teacher_epochs: int | None = None) -> Task:
    """Read the images, draw the splits and train the teacher, as ``pocketeva prepare`` and ``train`` do."""
    recipe = RECIPES[name](folder / "images")
    context = replace(material.context_of(folder / "run", trainer), working_size=recipe.data.working_size)
    manifest = prepare(context.folder, LabelSet.of(recipe.labels), recipe.data)
    config = recipe.teacher
    if teacher_epochs is not None:
        config = replace(config, full=replace(config.full, epochs=teacher_epochs))
    trained = common.timed(lambda: train(context, manifest, config, recipe.views))
    common.say(f"{name}: the teacher took {trained.seconds:.0f} s")
    return Task(
        recipe=recipe,
        context=context,
        manifest=manifest,
        teacher=load_teacher(context, manifest.labels).classifier,
        teacher_seconds=trained.seconds,
    )


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """Mean over the seeds, and half the width of its 95 % interval by Student's t; a single value has none."""
    half = None
    if len(values) > 1:
        half = float(student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "plus_minus": half}


def intervals(scores: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """``interval`` of each of the figures that every seed has."""
    return {key: interval([score[key] for score in scores]) for key in scores[0]}


def differences(
    ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]
) -> dict[str, dict[str, float | None]]:
    """Intervals of what ours are ahead, seed by seed, in accuracy and agreement."""
    pairs = list(zip(ours, theirs, strict=True))
    return {key: interval([one[key] - other[key] for one, other in pairs]) for key in ("accuracy", "agreement")}
