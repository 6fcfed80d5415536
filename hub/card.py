"""Model cards: metadata for the Hub (YAML), and text for people (``hub/templates``)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from data.audit import Audit
from export.formats.record import FormatsRecord, NotWritten
from export.int8.result import Int8Result
from export.page.write import INDEX
from export.parity_record import OtherResize, ParityRecord
from export.points.record import ThresholdsRecord
from export.release import Release, ReleasedModel
from hub.config import HubConfig
from hub.names import refusal
from hub.origins import origins
from hub.subject import Subject
from hub.words import FILTERS
from models.facts import public_name
from run.errors import UserError, quoted
from run.files import atomic_path, write_text
from run.folder import RunFolder
from run.template import render
from run.text import code_span
from verify.certificate import Certificate
from verify.seal import PICTURES

TEMPLATES = Path(__file__).with_name("templates")
TASK = "image-classification"


def write_cards(
    run: RunFolder,
    certificate: Certificate | None,
    config: HubConfig,
    differences: Sequence[str] = (),
    javascript: Mapping[str, OtherResize] | None = None,
) -> list[Path]:
    """Write ``README.md`` into every folder of a release.

    Args:
        run: with a release.
        certificate: null where nothing was judged.
        config: repositories, and the author's words. Without ``repo``, ``ORG/NAME`` stands in its place.
        differences: of the files from those that were judged. If there are any, no results are given, because they
            would be those of other files.
        javascript: the measured resize of transformers.js by model; null where nobody measured.

    Returns:
        The paths written.

    Raises:
        UserError: there is no release, or a folder of it is not as ``pocketeva export`` writes it.
    """
    from verify.report.content import card_pictures  # Matplotlib takes half a second

    named = config if config.repo else replace(config, repo="ORG/NAME")
    judged = None if differences else certificate
    paths = []
    audit = run.data / "audit.json"
    images = Audit.read(audit) if audit.is_file() else None
    for model in released_models(Release(run.release)):
        # A card without results, not an error: `push --allow-unverified` publishes models that were never judged.
        own = judged if judged is not None and model.name in judged.models else None
        pictures = card_pictures(own.models[model.name], own.labels.names, own.confidence) if own else {}
        for is_onnx in (False, True):
            subject = Subject(model, is_onnx, named, own, (javascript or {}).get(model.name))
            header = _metadata(subject, published=config.repo is not None).to_yaml()
            body = fill(
                "card",
                subject=subject,
                differences=differences,
                silent=_silent(subject),
                parity=ParityRecord.read_if_there(model.onnx),
                has_page=(subject.folder / INDEX).is_file(),
                thresholds=ThresholdsRecord.read_if_there(subject.folder),
                pictures=pictures,
                int8=Int8Result.read_if_there(subject.folder),
                formats=FormatsRecord.read_if_there(subject.folder),
                audit=images,
                origins=origins(model),
            )
            paths.append(subject.folder / "README.md")
            write_text(paths[-1], str(ModelCard(f"---\n{header}\n---\n\n{body}")))
            _write_pictures(subject.folder, pictures)
    return paths


def fill(name: str, **values: object) -> str:
    """Fill a template of ``hub/templates``; each optional part of a card begins with an empty line."""
    return render(TEMPLATES / f"{name}.md", values, FILTERS)


def _silent(subject: Subject) -> list[str]:
    """Labels that a file never says, and that the author let through."""
    if subject.certificate is None:
        return []
    rows = {row.label: row for row in subject.measured.per_label}
    dead = [rows[name] for name in subject.certificate.accepted if not sum(rows[name].confusion[1::2])]
    return [f"{code_span(row.label)} (true on {row.positives:,} of {sum(row.confusion):,} test images)" for row in dead]


def _write_pictures(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """Write the pictures that the card shows; those of other results are removed."""
    for name in PICTURES:
        if name in pictures:
            with atomic_path(folder / name) as partial:
                partial.write_bytes(pictures[name])
        else:
            (folder / name).unlink(missing_ok=True)


def released_models(release: Release) -> list[ReleasedModel]:
    """The models of a release; each goes to two repositories of its own.

    Raises:
        UserError: there are none.
    """
    models = release.models()
    if not models:
        raise UserError(f"{quoted(release.root)} holds no models: run `pocketeva export` first")
    return models


def hub_id(base_model: str) -> str | None:
    """Hub id of the model that training started from; null for a folder of a machine, whose path is private."""
    name = public_name(base_model).removeprefix("hf-hub:").split("@")[0]
    if "/" in name:
        return name if not refusal(name) else None
    import timm  # takes seconds, and torch

    cfg = timm.get_pretrained_cfg(name, allow_unregistered=True) if name else None
    return cfg.hf_hub_id if cfg is not None and cfg.hf_hub_id and not refusal(cfg.hf_hub_id) else None


def _metadata(subject: Subject, *, published: bool) -> ModelCardData:
    config = subject.hub
    if subject.is_onnx:
        base = subject.checkpoint_repo if published else None
    else:
        base = hub_id(subject.facts.base_model) if subject.facts.pretrained else None
    record = FormatsRecord.read_if_there(subject.folder) if subject.is_onnx else None
    written = [name for name, found in record.formats.items() if not isinstance(found, NotWritten)] if record else []
    audience = ["not-for-all-audiences"] if config.not_for_all_audiences else []
    tags = ["pocketeva", *audience, *(("onnx", "transformers.js", *written) if subject.is_onnx else ()), *config.tags]
    results = _eval_results(subject)
    return ModelCardData(
        license=config.license,
        library_name="onnx" if subject.is_onnx else "timm",
        pipeline_tag=TASK,
        base_model=base,
        # The Hub has no relation for a plain conversion.
        base_model_relation="finetune" if base and not subject.is_onnx else None,
        datasets=[name.partition("@")[0] for name in config.datasets] or None,
        metrics=["accuracy", "f1"] if results else None,
        tags=tags,
        model_name=subject.repo.split("/")[1] if results else None,
        eval_results=results or None,
    )


def _eval_results(subject: Subject) -> list[EvalResult]:
    """The model index: figures of the exported float32 file on the test split."""
    if subject.certificate is None:
        return []
    measured = subject.measured.reference
    values = [("accuracy", "Accuracy", measured.accuracy.rate)]
    if measured.macro_f1 is not None:
        values.append(("f1", "Macro F1", measured.macro_f1))
    if subject.agreement is not None:
        values.append(("agreement", "Agreement with the teacher", measured.agreement.rate))
    run = subject.certificate.name
    datasets = [name.partition("@")[0] for name in subject.hub.datasets]
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=datasets[0] if len(datasets) == 1 else re.sub(r"[^\w.-]", "-", run),
            dataset_name=f"{run}, test split",
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for kind, name, value in values
    ]
