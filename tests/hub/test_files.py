from typing import Any

from hub.files import _int8

FP32 = {"labeled": 40, "accuracy": 0.925, "nll": 0.2, "bytes": 10_100_000}
SETTINGS = {"method": "Entropy", "per_channel": True, "activation": "QUInt8", "excluded": ["stem", "head"]}
TRIED: dict[str, Any] = {
    "reason": "1 of 2 candidates passed",
    "processor": "Fancy CPU 9000",
    "images": {"ranges": 256, "judged": 200},
    "fp32": FP32,
    "winner": SETTINGS,
    "candidates": [
        SETTINGS | {"accuracy": 0.9, "flips": 2, "n": 200, "ms": 1.25, "bytes": 2_700_000, "why_not": None},
        SETTINGS | {"excluded": [], "why_not": "ONNX Runtime cannot make or run it: no such kernel"},
    ],
}


def test_int8__the_card_has_the_sweep_and_names_the_cpu_it_speaks_of() -> None:
    text = _int8(TRIED, "first choice")
    assert "one thread of the CPU that exported it (Fancy CPU 9000), and vouch for no other" in text
    assert "| method | per channel | activations | in fp32 | accuracy | flips | ms | MB | why not |" in text
    assert "| float32 |  |  |  | 92.5% |  |  | 10.1 |  |" in text
    assert "| Entropy | yes | QUInt8 | 2 | 90.0% | 2 of 200 | 1.25 | 2.7 |  |" in text
    assert "| Entropy | yes | QUInt8 |  |  |  |  |  | ONNX Runtime cannot make or run it: no such kernel |" in text
    assert "one image at a time" not in text


def test_int8__a_dynamic_winner_is_for_single_images() -> None:
    text = _int8(TRIED | {"winner": SETTINGS | {"method": "dynamic"}}, "first choice")
    assert "in WASM for one. Give `model_quantized.onnx` one image at a time, as it was measured" in text
    assert "in WASM for one.\n" in _int8(TRIED | {"winner": None}, "first choice")


def test_int8__where_none_was_tried() -> None:
    assert _int8(None, "first choice") == ""
