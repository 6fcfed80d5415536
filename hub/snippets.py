"""Code for the cards; the tests run it."""

from models.decision import DecisionRule
from models.spec import InputSpec


def timm_snippet(repo: str, rule: DecisionRule) -> str:
    """Load a checkpoint with timm."""
    activated = "softmax(-1)" if rule.exclusive else "sigmoid()"
    return f"""```python
import timm
import torch
from PIL import Image, ImageOps

model = timm.create_model("hf-hub:{repo}", pretrained=True).eval()
data = timm.data.resolve_model_data_config(model)
transform = timm.data.create_transform(**data, is_training=False)
image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
with torch.inference_mode():
    probabilities = model(transform(image)[None])[0].{activated}
scores = dict(zip(model.pretrained_cfg["label_names"], probabilities.tolist()))
print(scores)
```"""


def transformers_snippet(repo: str) -> str:
    """Load a checkpoint with transformers."""
    return f"""```python
from transformers import pipeline

classify = pipeline("image-classification", model="{repo}")
print(classify("image.jpg"))
```"""


def predict_snippet(repo: str) -> str:
    """Predict on the command line."""
    folder = repo.split("/")[1]
    return f"""```sh
hf download {repo} --local-dir {folder}
pocketeva predict {folder} image.jpg
```"""


def page_snippet(repo: str, *, with_runtime: bool) -> str:
    """Serve the page: by any server where the browser's runtime is beside it, else by the one that fetches it."""
    folder = repo.split("/")[1]
    serve = (
        f"python -m http.server --bind 127.0.0.1 --directory {folder}" if with_runtime else f"pocketeva page {folder}"
    )
    return f"""```sh
hf download {repo} --local-dir {folder}
{serve}
```"""


def rgb_snippet(repo: str) -> str:
    """Give ``rgb.onnx`` the decoded image: nothing but decoding is left to do."""
    return f"""```python
import json

import numpy as np
import onnxruntime
from huggingface_hub import hf_hub_download
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(hf_hub_download("{repo}", "rgb.onnx"))
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])["names"]
image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
(probabilities,) = session.run(["probabilities"], {{"image": np.asarray(image)}})
scores = dict(zip(labels, probabilities.tolist()))
print(scores)
```"""


def onnx_snippet(repo: str, spec: InputSpec, rule: DecisionRule) -> str:
    """Follow the input contract with nothing but Pillow, NumPy and ONNX Runtime."""
    softmax = """exponentials = np.exp(logits[0] - logits[0].max())
probabilities = exponentials / exponentials.sum()"""
    sigmoid = "probabilities = 1 / (1 + np.exp(-logits[0]))"
    return f"""```python
import json
from pathlib import Path

import numpy as np
import onnxruntime
from huggingface_hub import hf_hub_download
from PIL import Image, ImageOps

repo = "{repo}"
mean = np.array({list(spec.mean)}, np.float32)
std = np.array({list(spec.std)}, np.float32)


def resize(image, width, height):  # two passes, width first
    bicubic = Image.Resampling.BICUBIC
    return image.resize((width, image.height), bicubic).resize((width, height), bicubic)


image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
{_fit(spec)}
pixels = (np.asarray(image, np.float32) / 255 - mean) / std
session = onnxruntime.InferenceSession(hf_hub_download(repo, "onnx/model.onnx"))
(logits,) = session.run(["logits"], {{"pixel_values": pixels.transpose(2, 0, 1)[None]}})
{softmax if rule.exclusive else sigmoid}
labels = json.loads(Path(hf_hub_download(repo, "labels.json")).read_text(encoding="utf-8"))["names"]
scores = dict(zip(labels, probabilities.tolist()))
print(scores)
```"""


def _fit(spec: InputSpec) -> str:
    """Lines that fit ``image`` into the model's square, as ``InputSpec.render`` does."""
    if spec.mode == "squash":
        return f"image = resize(image, {spec.size}, {spec.size})"
    return f"""width, height = ({int(spec.size / spec.crop_pct)} * side // min(image.size) for side in image.size)
left, top = round((width - {spec.size}) / 2), round((height - {spec.size}) / 2)
image = resize(image, width, height).crop((left, top, left + {spec.size}, top + {spec.size}))"""


def transformers_js_snippet(repo: str, rule: DecisionRule) -> str:
    """Load the exported model with transformers.js, whose pipeline for images knows nothing but softmax."""
    if not rule.exclusive:
        return f"""```js
import {{ AutoModelForImageClassification, AutoProcessor, RawImage }} from "@huggingface/transformers";

const processor = await AutoProcessor.from_pretrained("{repo}");
const model = await AutoModelForImageClassification.from_pretrained("{repo}");
const {{ logits }} = await model(await processor(await RawImage.read("image.jpg")));
const probabilities = logits.sigmoid().tolist()[0];
console.log(Object.fromEntries(probabilities.map((value, index) => [model.config.id2label[index], value])));
```"""
    return f"""```js
import {{ pipeline }} from "@huggingface/transformers";

const classify = await pipeline("image-classification", "{repo}");
console.log(await classify("image.jpg"));
```"""


def rgb_js_snippet(repo: str) -> str:
    """Give ``rgb.onnx`` the decoded image in a browser or in Node, without any resize of JavaScript's."""
    return f"""```js
import * as ort from "onnxruntime-web/wasm";
import {{ RawImage }} from "@huggingface/transformers";

ort.env.wasm.numThreads = 1; // Node has no other way
const file = await fetch("https://huggingface.co/{repo}/resolve/main/rgb.onnx");
const session = await ort.InferenceSession.create(new Uint8Array(await file.arrayBuffer()));
const {{ data, width, height }} = (await RawImage.read("image.jpg")).rgb();
const image = new ort.Tensor("uint8", new Uint8Array(data), [height, width, 3]);
const {{ probabilities }} = await session.run({{ image }});
console.log(probabilities.data);
```"""
