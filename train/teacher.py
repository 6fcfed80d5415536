"""The teacher before it is trained, and afterwards with its cache."""

from dataclasses import replace

from cache.frozen import FrozenModel
from cache.passes import output_for_students
from data.labels import LabelSet
from models import checkpoint
from models.building import build
from models.classifier import Classifier
from models.facts import CheckpointFacts
from run.context import RunContext
from run.errors import UserError, quoted
from train.config import TeacherConfig


def starting_point(labels: LabelSet, config: TeacherConfig) -> Classifier:
    """The model before any training; where its weights are random, the seed has to be set before."""
    classifier = build(
        config.model,
        labels,
        key="teacher",
        pretrained=config.pretrained,
        image_size=config.image_size,
        drop_path=0.0 if config.mode == "head" else config.drop_path,
    )
    return replace(classifier, spec=classifier.spec.squashed()) if config.resize == "squash" else classifier


def load_teacher(context: RunContext, labels: LabelSet) -> FrozenModel:
    """The trained teacher with its cache. The checkpoint, not the config, says how it was trained.

    Raises:
        UserError: there is none, or it was made for other labels.
    """
    folder = context.folder.teacher / "model"
    if not folder.is_dir():
        raise UserError(f"{quoted(folder)} does not exist: run `pocketeva train` first")
    mode = CheckpointFacts.read(folder).mode
    return FrozenModel(checkpoint.load(folder, labels), output_for_students(mode), context)
