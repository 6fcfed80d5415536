from dataclasses import asdict, replace

from export.int8.result import Candidate, FailedRow, Fp32Row, Gate, ImageCounts, Int8Result, Row, Winner
from hub.card import fill

ENTROPY = Candidate("Entropy", True, "QUInt8", ("stem", "head"))
MEASURED = Row(
    **asdict(ENTROPY),
    n=200,
    flips=2,
    flip_rate=0.01,
    largest=0.1,
    kl=0.01,
    labeled=40,
    accuracy=0.9,
    nll=0.3,
    most_flips=0.04,
    temperature=1.1,
    bytes=2_700_000,
    fp32_ms=2.0,
    ms=1.25,
)
TRIED = Int8Result(
    processor="Fancy CPU 9000",
    gate=Gate(0.05, 1.0, 0.95, 0.975, 2),
    images=ImageCounts(256, 200),
    fp32=Fp32Row(labeled=40, accuracy=0.925, nll=0.2, bytes=10_100_000),
    winner=Winner(**asdict(MEASURED), sha256="abc"),
    candidates=(
        MEASURED,
        FailedRow("Entropy", True, "QUInt8", why_not="ONNX Runtime cannot make or run it: no such kernel"),
    ),
    layer_costs=(),
)


def _int8(found: Int8Result | None) -> str:
    """The lines behind one that ends without its line break."""
    return f"\n{fill('int8', int8=found)}".rstrip("\n")


def test_int8__the_card_has_the_sweep_and_names_the_cpu_it_speaks_of() -> None:
    text = _int8(TRIED)
    assert "INT8: 1 of 2 candidates passed the gate" in text
    assert "one thread of the CPU that exported it (Fancy CPU 9000), and vouch for no other" in text
    assert "| method | per channel | activations | in fp32 | accuracy | flips | ms | MB | why not |" in text
    assert "| float32 |  |  |  | 92.5% |  |  | 10.1 |  |" in text
    assert "| Entropy | yes | QUInt8 | 2 | 90.0% | 2 of 200 (up to 4.00%) | 1.25 | 2.7 |  |" in text
    assert "| Entropy | yes | QUInt8 |  |  |  |  |  | ONNX Runtime cannot make or run it: no such kernel |" in text
    assert "one image at a time" not in text


def test_int8__a_dynamic_winner_is_for_single_images() -> None:
    dynamic = Winner(**{**asdict(MEASURED), "method": "dynamic"}, sha256="abc")
    text = _int8(replace(TRIED, winner=dynamic))
    assert "in WASM for one. Give `model_quantized.onnx` one image at a time, as it was measured" in text
    assert "in WASM for one.\n" in _int8(replace(TRIED, winner=None))


def test_int8__where_none_was_tried() -> None:
    assert _int8(None) == ""
    untried = replace(TRIED, not_tried="export.int8.mode is none", fp32=None, winner=None, candidates=())
    assert _int8(untried) == "\n\nNo INT8 file: export.int8.mode is none."
