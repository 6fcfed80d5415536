"""The verb ``inspect``: what X is, and what can be said of it."""

import json
from dataclasses import asdict
from pathlib import Path

from export.release import KINDS, WEIGHTS, Release
from hub.inspection.graph import inspect_file, inspect_folder
from hub.inspection.record import SCHEMA, Inspection, Limits
from hub.inspection.show import show
from hub.places import fetch, is_hub_id, path_of, without_key
from models.names import architecture_of, architectures, nearest
from run.console import console
from run.errors import UserError, quoted


def print_inspection(name: str, limits: Limits, *, as_json: bool) -> None:
    """Print all that is found of a model, or of each model of a release.

    Args:
        name: a timm name, a Hub id, a folder, an ONNX file, or a run or a release of PocketEVA.

    Raises:
        UserError: it is none of these, or damaged.
    """
    found = inspect(name, limits)
    if as_json:
        models = [asdict(one) for one in found]
        console.out(json.dumps({"format": SCHEMA, "given": name, "models": models}), highlight=False)
        return
    for one in found:
        show(one)


def inspect(name: str, limits: Limits) -> list[Inspection]:
    """Look at a model, or at each model of a release; this may take minutes."""
    path = path_of(name)
    with without_key("inspect"):
        if path.is_file():
            return [_file(path, limits)]
        if path.is_dir():
            return _folder(path, name, limits)
        if is_hub_id(name) and not name.startswith("timm/"):
            return _folder(fetch(name, huge=limits.huge), name.removeprefix("hf-hub:"), limits)
        return [_timm(name, limits)]


def _timm(name: str, limits: Limits) -> Inspection:
    plain = name.removeprefix("timm/")
    if "/" in plain or plain.endswith((".onnx", ".safetensors")):
        raise UserError(f"{quoted(name)} does not exist: check the path")
    architecture = architecture_of(plain)
    if architecture not in architectures():
        near = nearest(architecture)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise UserError(
            f"{name} is no file or folder here, no org/name on the Hub, and timm has no model of that name{hint}"
        )
    from hub.inspection.checkpoint import inspect_timm  # torch takes seconds

    return inspect_timm(plain, limits)


def _file(path: Path, limits: Limits) -> Inspection:
    if path.suffix == ".onnx":
        return inspect_file(path, str(path), limits)
    raise UserError(
        f"{quoted(path)} is no ONNX file: give an .onnx, or the folder of a checkpoint (config.json, {WEIGHTS})"
    )


def _folder(folder: Path, name: str, limits: Limits) -> list[Inspection]:
    if (folder / WEIGHTS).is_file():
        return [_checkpoint(folder, name, limits)]
    if any((folder / kind.path).is_file() for kind in KINDS.values()):
        beside = folder.with_name(folder.name.removesuffix("-onnx"))
        return [inspect_folder(folder, name, limits, beside if (beside / WEIGHTS).is_file() else None)]
    if found := _release(folder, limits):
        return found
    graphs = sorted(folder.glob("*.onnx")) or sorted(folder.glob("onnx/*.onnx"))
    if len(graphs) == 1:
        return [inspect_file(graphs[0], name, limits)]
    if (folder / "config.json").is_file():
        return [_checkpoint(folder, name, limits)]  # which says what it lacks
    raise UserError(
        f"{quoted(folder)} holds no model: neither a checkpoint (config.json, {WEIGHTS}) nor one ONNX file, and "
        "no release that `pocketeva export` wrote"
    )


def _release(folder: Path, limits: Limits) -> list[Inspection]:
    """Every model of a run or a release."""
    root = folder / "release" if (folder / "release").is_dir() else folder
    models = [model for model in Release(root).models() if model.files()]
    return [
        inspect_folder(model.onnx, str(model.onnx), limits, model.checkpoint if model.weights.is_file() else None)
        for model in models
    ]


def _checkpoint(folder: Path, name: str, limits: Limits) -> Inspection:
    from hub.inspection.checkpoint import inspect_checkpoint  # torch takes seconds

    return inspect_checkpoint(folder, name, limits)
