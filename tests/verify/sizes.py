"""Tables of how many test images show what: ``python -m tests.verify.sizes`` prints those of docs/certificate.md."""

from run.text import markdown_table
from verify.evidence import Claim, Share
from verify.ledger import confidence_of_look
from verify.verdicts import fewest, verdict

CONFIDENCE = 0.95
LOOKS = (1, 2, 5, 10)
LIMITS = (0.01, 0.02, 0.05, 0.10, 0.20)
MISSES = (0, 1, 2, 5, 10)
IMAGES = (100, 200, 505, 1000, 2000, 5000)
TARGETS = (0.90, 0.95, 0.98, 0.99)


def needed(limit: float, misses: int) -> int:
    """Fewest images with which so many misses pass a limit on their share, at the first look."""
    found = fewest(lambda n: _passes(n, misses, limit, 1), max(misses, 1))
    assert found is not None, "a number of images shows any limit above 0"
    return found


def may_differ(target: float, images: int, look: int = 1) -> int | None:
    """Most images of so many that may differ for an agreement to pass; null where even none is too many."""
    if not _passes(images, 0, 1 - target, look):
        return None
    too_many = fewest(lambda count: not _passes(images, count, 1 - target, look), 1)
    return None if too_many is None else too_many - 1


def tables() -> str:
    """Both tables in Markdown."""
    by_limit = [[f"{limit:.0%}", *(f"{needed(limit, misses):,}" for misses in MISSES)] for limit in LIMITS]
    by_target = [
        [f"{target:.0%}", f"{look}", *(_shown(may_differ(target, images, look)) for images in IMAGES)]
        for target in TARGETS
        for look in LOOKS
    ]
    return "\n\n".join(
        [
            markdown_table(["share at most", *(f"{misses} missed" for misses in MISSES)], by_limit),
            markdown_table(["agreement", "look", *(f"of {images:,}" for images in IMAGES)], by_target),
        ]
    )


def _passes(images: int, misses: int, limit: float, look: int) -> bool:
    claim = Claim(
        name="conversion",
        tier="must pass",
        model="",
        file="",
        about=None,
        statement="",
        evidence=Share(n=images, count=misses),
        side="at most",
        limit=limit,
    )
    return verdict(claim, confidence_of_look(look, CONFIDENCE)) == "PASS"


def _shown(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


if __name__ == "__main__":
    print(tables())  # noqa: T201
