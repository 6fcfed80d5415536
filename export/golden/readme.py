"""The text that goes with a golden kit, for the engineer who has to find out which step differs."""

from collections.abc import Sequence

from export.golden.kit import GoldenIndex
from models.decision import DecisionRule
from models.spec import InputSpec
from run.text import code_span


def readme(index: GoldenIndex) -> str:
    """``golden/README.md``."""
    rule = index.rule
    spec = index.spec
    size = spec.size
    count = len(index.images)
    after = rule.activation
    of_what = "of the logits" if rule.exclusive else "of each logit by itself"
    return f"""# Golden kit: find the step that differs

{count} small images, and for each of them what every step has to give. Start each step from the kit's own result
of the step before: then one fault shows in one step only. `index.json` lists files, numbers and tolerances;
`pocketeva check-golden` does all of this for Python.

Labels, in the order of every list: {", ".join(map(code_span, rule.labels.names))}.

## Which steps you need
* Your app runs `rgb.onnx`: steps 1 and 4.
* Your app runs `onnx/model.onnx`, or a file for another runtime (`formats.json`): steps 1, 2 and 3, then {after}.

## Step 1: decode `file`, compare with `rgb`
`rgb` is a PNG with the decoded pixels: 8-bit RGB, upright, transparency over white. Compare width, height and every
channel; the last column below has the largest difference allowed, `tolerance.decode`, in levels of 255. It is 0 where
the format is lossless. JPEG decoders round differently, by up to 3 levels, and by more where color planes are halved.

What you see, and what it usually is:
* `exif`, width and height swapped: the EXIF orientation is not applied (Android `ExifInterface`, iOS
  `UIImage.imageOrientation`).
* `alpha`, dark where it should be light: transparency over black, or colors left premultiplied (Android `Bitmap`, Core
  Graphics). Draw on white first.
* `gray16`, white nearly everywhere: 16 bits were clipped, not scaled.
* `cmyk`, colors inverted or duller: Adobe's inverted CMYK, or a color profile was applied. Converting CMYK on the
  server, or refusing it, is safest.
* All, red and blue swapped: byte order (Android `getPixels` gives ARGB, Core Graphics often BGRA, a canvas RGBA).
* All, slightly off: the bitmap went through a color space of the screen. Ask for sRGB and no color management.

## Step 2: resize `rgb`, compare with `pixels`
`pixels` is {size} × {size}. {_fit(spec)} Bicubic (a = −0.5) with antialiasing, in two
passes: first the width, rounded and clipped to 8 bits, then the height, rounded and clipped. Allowed:
`tolerance.resize` levels.

What you see, and what it usually is:
* `stripes` far off: no antialiasing, as in most platform resizers, OpenCV and canvas. The filter has to widen as the
  image shrinks.
* `noise` off by 10 to 50, `one_pixel` and `gray16` right: values not rounded and clipped between the passes, the height
  resized first, bilinear, or another cubic (a = −0.75 in OpenCV, and in PyTorch without antialiasing).
* `tall` alone off: one call of Pillow 13, which resizes the height of tall images first.
* `wide` and `tall` off: cropped or padded where the image is squashed, or the other way round.

## Step 3: normalize `pixels`, run `onnx/model.onnx`, compare with `logits`
`(x / 255 − mean) / std` in float32, with mean {_list(spec.mean)} and std {_list(spec.std)} for
R, G and B; layout [1, 3, {size}, {size}]: all of R, then G, then B. Allowed: `tolerance.logits`. The {after} {of_what}
gives the probabilities; the temperature is already in the weights.

What you see, and what it usually is:
* All off: mean and std left out, or applied before the division by 255, or pixels passed where planes are expected.
* All off by about 1 %: the runtime computes in float16 or bfloat16. Measure what that does to your decisions.

## Step 4: run `rgb.onnx` on `rgb`, compare with `probabilities` and `decision`
Input `image`: uint8 [height, width, 3], R, G, B of the first pixel first, no alpha. Allowed: `tolerance.probabilities`.
{_decision(rule)}
The graph resizes with integer arithmetic of its own and is tested in ONNX Runtime on CPU and in WASM. Where another
runtime refuses it or fails here, use `onnx/model.onnx` there and do steps 2 and 3 yourself.

## The images
| file | decoded | what it is for | decode tolerance |
| --- | --- | --- | --- |
{_table(index)}
"""


def _table(index: GoldenIndex) -> str:
    return "\n".join(
        f"| `{entry.file}` | {entry.width} × {entry.height} | {entry.purpose} | {entry.tolerance.decode} |"
        for entry in index.images
    )


def _decision(rule: DecisionRule) -> str:
    """The output ``decision``, which has to follow from the probabilities."""
    if not rule.exclusive:
        return "Its output `decision` is true for each label whose probability is at or above its threshold."
    if rule.method == "levels":
        return "Its output `decision` is the index of the most severe label whose score is at or above its threshold."
    if rule.points:
        return "Its output `decision` is the index of the likeliest label whose probability is at or above its \
threshold, or of the likeliest without one."
    return "Its output `decision` is the index of the likeliest label."


def _fit(spec: InputSpec) -> str:
    if spec.mode == "squash":
        return "The whole image is squashed to the square; proportions are not kept."
    short = int(spec.size / spec.crop_pct)
    return (
        f"The shorter side becomes {short}, the longer floor({short} · longer / shorter); of that the middle square is "
        f"kept, from round((side − {spec.size}) / 2) on, halves rounded to even."
    )


def _list(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
