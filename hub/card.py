"""Model cards: metadata for the Hub (YAML), and text for people (``hub.sections``)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from data.audit import Audit
from export.formats.record import FormatsRecord, NotWritten
from export.int8.result import Int8Result
from export.parity_record import OtherResize
from export.points.record import ThresholdsRecord
from export.release import Release, ReleasedModel
from hub import sections
from hub.certified import certificate as certificate_section
from hub.config import HubConfig
from hub.decisions import decisions
from hub.files import files
from hub.formats import formats
from hub.names import refusal
from hub.origins import data, license_section
from hub.subject import Subject
from models.facts import public_name
from run.errors import UserError, quoted
from run.files import atomic_path, write_text
from run.folder import RunFolder
from verify.certificate import Certificate
from verify.seal import PICTURES

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
    named = config if config.repo else replace(config, repo="ORG/NAME")
    judged = None if differences else certificate
    paths = []
    audit = run.data / "audit.json"
    images = data(Audit.read(audit)) if audit.is_file() else ""
    for model in released_models(Release(run.release)):
        # A card without results, not an error: `push --allow-unverified` publishes models that were never judged.
        own = judged if judged is not None and model.name in judged.models else None
        for is_onnx in (False, True):
            subject = Subject(model, is_onnx, named, own, (javascript or {}).get(model.name))
            header = _metadata(subject, published=config.repo is not None).to_yaml()
            card = ModelCard(f"---\n{header}\n---\n\n{_body(subject, differences, images)}\n")
            paths.append(subject.folder / "README.md")
            write_text(paths[-1], str(card))
            _write_pictures(subject)
    return paths


def _write_pictures(subject: Subject) -> None:
    """Write the pictures that the card shows; those of other results are removed."""
    from verify.report.content import card_pictures  # Matplotlib takes half a second

    found = subject.certificate
    pictures = card_pictures(subject.measured, found.labels.names, found.confidence) if found else {}
    for name in PICTURES:
        if name in pictures:
            with atomic_path(subject.folder / name) as partial:
                partial.write_bytes(pictures[name])
        else:
            (subject.folder / name).unlink(missing_ok=True)


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


def _body(subject: Subject, differences: Sequence[str], images: str) -> str:
    parts = [
        f"# {subject.repo.split('/')[1]}",
        sections.banner(subject, differences),
        sections.introduction(subject),
        sections.labels(subject),
        sections.use(subject),
        decisions(ThresholdsRecord.read_if_there(subject.folder)) if subject.is_onnx else "",
        sections.results(subject),
        files(subject, Int8Result.read_if_there(subject.folder)) if subject.is_onnx else "",
        formats(subject, FormatsRecord.read_if_there(subject.folder)) if subject.is_onnx else "",
        sections.notes(subject),
        certificate_section(subject),
        sections.calibration(subject),
        sections.inputs(subject),
        images,
        license_section(subject),
        sections.limits(subject),
    ]
    return "\n\n".join(part for part in parts if part)


def _metadata(subject: Subject, *, published: bool) -> ModelCardData:
    config = subject.hub
    base, relation = _base(subject, published=published)
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
        base_model_relation=relation,
        datasets=[name.partition("@")[0] for name in config.datasets] or None,
        metrics=["accuracy", "f1"] if results else None,
        tags=tags,
        model_name=subject.repo.split("/")[1] if results else None,
        eval_results=results or None,
    )


def _base(subject: Subject, *, published: bool) -> tuple[str | None, str | None]:
    """``base_model`` and ``base_model_relation``; the Hub has no relation for a plain conversion."""
    if subject.is_onnx:
        return (subject.checkpoint_repo, None) if published else (None, None)
    base = hub_id(subject.facts.base_model) if subject.facts.pretrained else None
    return base, "finetune" if base else None


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
