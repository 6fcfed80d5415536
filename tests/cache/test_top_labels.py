import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from cache.top_labels import RECORD, K, compress, keeps_all, reconstruct


def logits_of(count: int, scale: float, rows: int = 200) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(0, scale, (rows, count)).astype(np.float32)


def divergence(logits: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """KL of each row, in float64."""
    left, right = (log_softmax(one.astype(np.float64), axis=-1) for one in (logits, other))
    return np.asarray((np.exp(left) * (left - right)).sum(-1))


@pytest.mark.parametrize(
    ("count", "exclusive", "everything"),
    [
        (2, True, True),
        (64, True, True),
        (65, True, True),
        (98, True, True),
        (99, True, False),
        (1000, True, False),
        (1000, False, True),
    ],
)
def test_keeps_all__where_records_take_no_less(count: int, exclusive: bool, everything: bool) -> None:
    assert keeps_all(count, exclusive=exclusive) == everything
    assert RECORD.itemsize == 196
    assert everything or RECORD.itemsize <= 2 * count


@pytest.mark.parametrize("count", [99, 1000])
@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0])
def test_reconstruct__error_is_within_the_bound(count: int, scale: float) -> None:
    logits = logits_of(count, scale)
    found = reconstruct(compress(logits), count)
    assert found.shape == logits.shape
    assert found.dtype == np.float32
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    others = np.sort(probabilities, -1)[:, :-K]
    weight = others.sum(-1)
    entropy = -(others / weight[:, None] * np.log(others / weight[:, None])).sum(-1)
    delta = 2.0**-10 * np.abs(logits).max(-1)
    error = divergence(logits, found)
    assert (error <= weight * (np.log(count - K) - entropy) + 2 * delta).all()
    assert (error >= -1e-9).all()
    if scale == 5.0:
        assert error.mean() < (0.02 if count == 99 else 0.2), "a model that is sure loses little"


def test_reconstruct__keeps_the_top_and_the_weight_of_the_rest() -> None:
    logits = logits_of(300, 2.0)
    found = reconstruct(compress(logits), 300)
    top = np.argsort(-logits, axis=-1)[:, :K]
    expected, kept = (np.take_along_axis(one, top, -1) for one in (logits, found))
    np.testing.assert_allclose(kept, expected, rtol=1e-3)
    rest = [np.delete(softmax(one, axis=-1)[0], top[0]) for one in (logits, found)]
    assert rest[0].sum() == pytest.approx(rest[1].sum(), rel=1e-2)
    assert np.unique(rest[1]).size == 1


@pytest.mark.parametrize("best", [0, 50, 199])
def test_reconstruct__the_likeliest_label_stays_where_float16_cannot_tell(best: int) -> None:
    logits = np.full((1, 200), 10.0, np.float32)
    logits[0, best] = 10.001
    assert np.float16(10.001) == np.float16(10.0)
    assert reconstruct(compress(logits), 200)[0].argmax() == best


@pytest.mark.parametrize("value", [-9.9997, 10.0003, 10.003])
def test_reconstruct__all_alike_stay_below_the_first(value: float) -> None:
    logits = np.full((1, 200), value, np.float32)
    assert reconstruct(compress(logits), 200)[0].argmax() == 0


@pytest.mark.parametrize("shape", [(), (3,), (4, 3)])
def test_compress__labels_are_the_last_axis(shape: tuple[int, ...]) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (*shape, 120)).astype(np.float32)
    records = compress(logits)
    assert records.shape == shape
    flat = compress(logits.reshape(-1, 120))
    assert records.tobytes() == flat.tobytes()
    assert np.array_equal(reconstruct(records, 120).reshape(-1, 120), reconstruct(flat, 120))


def test_compress__of_equal_logits_the_first_labels_are_kept() -> None:
    """Whatever the sort does elsewhere: other bytes would be another cache."""
    logits = np.random.default_rng(0).integers(0, 3, (50, 300)).astype(np.float32)
    expected = [sorted(range(300), key=lambda label: (-row[label], label))[:K] for row in logits]
    assert compress(logits)["label"].tolist() == expected


def test_compress__the_first_stays_above_a_second_that_is_above_the_third() -> None:
    logits = (np.arange(200)[None] / 100).astype(np.float32)
    logits[0, [10, 150]] = 10.0, 10.001
    found = compress(logits)["logit"][0]
    assert found[:3].tolist() == [float(np.nextafter(np.float16(10), np.float16(11))), 10, float(np.float16(1.99))]


def test_compress__a_logit_above_float16_is_infinite_without_a_warning() -> None:
    logits = logits_of(120, 1.0, rows=2)
    logits[0, 7] = 1e6
    with np.errstate(over="raise"):
        found = compress(logits)["logit"]
    assert np.isinf(found[0, 0])
    assert np.isfinite(found[1]).all()
