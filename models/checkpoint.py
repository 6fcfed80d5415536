"""The checkpoint folder: ``model.safetensors`` and a ``config.json`` that timm and transformers both load."""

from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from data.labels import LabelSet
from models.building import size_args
from models.classifier import Classifier
from models.facts import KEY, CheckpointFacts, label_maps, problem_type, read_config
from models.spec import InputSpec
from run.errors import UserError, quoted
from run.files import Json, atomic_path, write_json


def save(classifier: Classifier, folder: Path, facts: CheckpointFacts) -> None:
    """Write the folder atomically, in place of one that is there; the model may lie on any device."""
    assert facts.labels == classifier.labels
    # Contiguous and on the CPU: training keeps convolutions in another memory format, which safetensors refuses.
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.model.state_dict().items()}
    config = config_json(classifier, facts)
    # Both files or none: a folder with one of them would load the weights of one model as another.
    with atomic_path(folder) as partial:
        partial.mkdir()
        save_file(state, partial / "model.safetensors", {"format": "pt"})
        write_json(partial / "config.json", config)


def config_json(classifier: Classifier, facts: CheckpointFacts) -> dict[str, Json]:
    """Timm's ``config.json``, with the label names in the keys that timm, transformers and transformers.js read.

    ``num_classes`` is left out of ``model_args``: transformers passes it itself and refuses it twice. transformers
    takes softmax for granted unless ``problem_type`` says otherwise.
    """
    names = classifier.labels.names
    own: Any = classifier.model.pretrained_cfg
    args: dict[str, Json] = {**size_args(classifier.architecture, classifier.spec.size)}
    # RepViT is built with two last layers, but a new head has only one.
    head = classifier.model.get_classifier()  # type: ignore[operator]
    if hasattr(head, "distillation"):
        args["distillation"] = head.distillation
    return {
        **problem_type(classifier.labels),
        "architecture": classifier.architecture,
        "num_classes": len(names),
        "num_features": classifier.feature_width,
        "label_names": list(names),
        **label_maps(classifier.labels),
        "model_args": args,
        "pretrained_cfg": {
            **classifier.spec.to_pretrained_cfg(),
            "num_classes": len(names),
            "first_conv": own["first_conv"],
            "classifier": own["classifier"],
            "fixed_input_size": bool(own.get("fixed_input_size", False)),
            "custom_load": False,
        },
        KEY: facts.to_json(),
    }


def load(folder: Path, labels: LabelSet) -> Classifier:
    """Read a folder written by ``save``; the model is in eval mode.

    Raises:
        UserError: it is missing, damaged, or was made for another label set.
    """
    config = read_config(folder)
    facts = CheckpointFacts.of_config(config, str(folder))
    labels.require_equal(facts.labels, str(folder))
    architecture = config["architecture"]
    args = config["model_args"]
    cfg = {**config["pretrained_cfg"], "architecture": architecture}
    model = timm.create_model(architecture, pretrained_cfg=cfg, num_classes=len(labels), **args)
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{quoted(folder / 'model.safetensors')} cannot be read: {error}") from error
    model.requires_grad_(False)
    return Classifier(model.eval(), architecture, labels, InputSpec.from_pretrained_cfg(cfg))
