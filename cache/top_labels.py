"""Logits of many labels that exclude each other, kept as the largest ``K`` and what all others weigh together.

A record holds the ``K`` largest logits (float16) with their labels (int32) and the logsumexp of the others (float32):
196 bytes at ``K`` = 32. ``reconstruct`` gives each of the C − K others the same share of that weight. With p the
softmax of the logits and q that of what comes back,

    KL(p ‖ q) ≤ P · (log(C − K) − H) + 2δ,

where P is the probability of the others together, H the entropy (nats) of p among them, and δ = 2⁻¹⁰ · max|logit| what
rounding to float16 costs. So the error is small where the model is sure; at most P · log(C − K) + 2δ in any case.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

K = 32
"""Logits kept of each image and view."""

RECORD = np.dtype([("label", "<i4", (K,)), ("logit", "<f2", (K,)), ("others", "<f4")])


def keeps_all(count: int, *, exclusive: bool) -> bool:
    """True where all logits of ``count`` labels are kept.

    They are where that takes no more room (up to 98 labels), and for a multilabel set of any size: its labels are
    independent of each other, so there is no weight for the others to share.
    """
    return not exclusive or RECORD.itemsize >= 2 * count


def compress(logits: NDArray[np.float32]) -> NDArray[np.void]:
    """Records [...] of logits [..., C], the largest first.

    The first logit stays above the second: where float16 makes them equal, it is raised by one step, so that the
    likeliest label is never lost.
    """
    order = np.argsort(-logits, axis=-1, kind="stable")
    largest = order[..., :K]
    others = order[..., K:]
    records = np.empty(logits.shape[:-1], RECORD)
    records["label"] = largest
    with np.errstate(over="ignore"):  # whoever stores them looks for values that are not finite
        rounded = np.take_along_axis(logits, largest, -1).astype(np.float16)
        above = np.nextafter(rounded[..., 1], np.float16(np.inf))
    rounded[..., 0] = np.maximum(rounded[..., 0], above)
    records["logit"] = rounded
    records["others"] = logsumexp(np.take_along_axis(logits, others, -1), axis=-1)
    return records


def reconstruct(records: NDArray[np.void], count: int) -> NDArray[np.float32]:
    """Logits [..., C] in float32, for C = ``count``; the module says how far they are from the real ones."""
    largest = records["logit"].astype(np.float32)
    share = records["others"] - np.float32(np.log(count - K))
    logits = np.repeat(share[..., None], count, -1)
    np.put_along_axis(logits, records["label"].astype(np.intp), largest, -1)
    return logits
