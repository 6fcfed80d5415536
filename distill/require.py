"""Checks before any training: models that cannot be trained as the config has it."""

from collections.abc import Sequence

from torch import nn

from data.labels import LabelSet
from distill.config import StudentConfig
from models.building import count_weights, require_checkpoint, spec_of
from models.classifier import Classifier
from models.device import device_of, precision_for
from models.room import require_room
from models.skeleton import skeleton, trains_on_one_image
from run.config import TrainerConfig
from run.errors import UserError
from train.config import TeacherConfig
from train.modes import choose_weights, refusal


def require_trainable(teacher: TeacherConfig, students: Sequence[StudentConfig], num_labels: int) -> None:
    """Look at the shapes of all models, which takes seconds.

    Raises:
        UserError: the teacher's mode cannot train its model; a ``batch_size`` is 1, and the model cannot be trained on
            one image; or a student is larger than its teacher. All of these are listed.
    """
    mistakes: list[str] = []
    taught = skeleton(teacher.model, num_labels, teacher.image_size)
    if taught and teacher.mode != "head":
        mistakes += filter(None, [refusal(taught, teacher.image_size or spec_of(taught).size, teacher)])
        key = f"teacher.{teacher.images_key}"
        mistakes += _one_at_a_time(taught, key, teacher.on_images.batch_size, teacher.model, teacher.image_size)
    for index, student in enumerate(students):
        key = f"students[{index}]"
        model = skeleton(student.model, num_labels, student.image_size)
        if model is None:
            continue
        mistakes += _one_at_a_time(model, f"{key}.fit", student.fit.batch_size, student.model, student.image_size)
        if taught and count_weights(model) > count_weights(taught):
            mistakes.append(f"{key}.model: {larger(student.name, student.model, model, teacher.model, taught)}")
    if mistakes:
        raise UserError("\n".join(mistakes))


def require_weights(teacher: TeacherConfig, students: Sequence[StudentConfig], trained: Sequence[bool]) -> None:
    """Fetch the weights that training starts from: what cannot be had is said before anything is read or trained.

    Args:
        trained: of the teacher and each student: it is there, and its weights are not needed again.

    Raises:
        UserError: some cannot be had; all of these are listed.
    """
    mistakes = []
    models: dict[str, TeacherConfig | StudentConfig] = {"teacher": teacher}
    models |= {f"students[{index}]": student for index, student in enumerate(students)}
    for (key, model), done in zip(models.items(), trained, strict=True):
        try:
            if model.pretrained and not done:
                require_checkpoint(model.model, key)
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError("\n".join(mistakes))


def require_room_to_train(
    teacher: TeacherConfig,
    students: Sequence[StudentConfig],
    trained: Sequence[bool],
    labels: LabelSet,
    trainer: TrainerConfig,
) -> None:
    """Let one image through each model and back on the GPU, where there is one, before any image is read.

    Args:
        trained: of the teacher and each student: it is there already.

    Raises:
        UserError: the GPU's memory is too small for one of them.
    """
    device = device_of(trainer)
    if device.type == "cpu":
        return
    models: list[TeacherConfig | StudentConfig] = [teacher, *students]
    for index, (config, done) in enumerate(zip(models, trained, strict=True), -1):
        model = None if done else skeleton(config.model, len(labels), config.image_size)
        if model is None:
            continue
        spec = spec_of(model).with_size(config.image_size)
        classifier = Classifier(model.to_empty(device="cpu"), config.model, labels, spec)
        precision = precision_for(model, trainer)
        if isinstance(config, StudentConfig):
            require_room(classifier, device, f"students[{index}]", precision=precision)
        elif config.mode != "head":
            choose_weights(classifier, config)
            checkpoints = config.on_images.grad_checkpointing is not False
            require_room(classifier, device, "teacher", precision=precision, may_checkpoint=checkpoints)


def larger(name: str, model_name: str, student: nn.Module, teacher_name: str, teacher: nn.Module) -> str:
    """The message about a student that is larger than its teacher."""
    ours, theirs = (count_weights(model) / 1e6 for model in (student, teacher))
    return (
        f"student {name} ({model_name}) has {ours:.1f} M weights, its teacher ({teacher_name}) only {theirs:.1f} M: "
        "choose a smaller students[].model"
    )


def _one_at_a_time(model: nn.Module, key: str, batch_size: int, name: str, image_size: int | None) -> list[str]:
    if batch_size > 1 or trains_on_one_image(model, image_size):
        return []
    return [f"{key}.batch_size is 1; it must be 2 or more for {name}, which normalizes over the batch after pooling"]
