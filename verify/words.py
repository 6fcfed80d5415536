"""Criteria in words, for the table, the cards and ``recheck``."""

from collections.abc import Sequence

from export.release import KINDS
from run.errors import plural
from run.figures import bounded, percent
from verify.evidence import (
    Beats,
    Criterion,
    Finite,
    Informed,
    Largest,
    Mean,
    Noise,
    Pairs,
    Said,
    Share,
)
from verify.verdicts import verdict_to_come


def title(criterion: Criterion) -> str:
    """Name of the criterion, what it is about and which file, and which images count, if not one of each group."""
    about = f" of {criterion.about!r}" if criterion.about else ""
    return f"{criterion.name}{about}, {criterion.file}{counted(criterion)}"


def counted(criterion: Criterion) -> str:
    """The images that count, where it is not one of each group."""
    return "" if criterion.counted == "one of each group" else f", counting {criterion.counted}"


def worth_a_line(criterion: Criterion) -> bool:
    """False for slices that nobody declared: they decide nothing, and the certificate has them all."""
    return criterion.name != "slice" or criterion.tier != "reported"


def short_name(file: str) -> str:
    """Short name of a released file's kind."""
    return next((kind.name for kind in KINDS.values() if kind.path.as_posix() == file.split("/", 1)[-1]), file)


def figures(criterion: Criterion) -> str:
    """The evidence, and the bound that the verdict rests on."""
    match criterion.evidence:
        case Share(n=n, count=count):
            rate = f" ({percent(count / n)})" if n else ""
            return f"{count:,} of {n:,}{rate}, {_bound(criterion, 100, '%')}, limit {criterion.limit:.1%}"
        case Pairs(n=n, gained=gained, lost=lost):
            limit = f"limit {100 * criterion.limit:+.1f}"
            return f"gains {gained:,} and loses {lost:,} of {n:,}, {_bound(criterion, 100, ' points')}, {limit}"
        case Beats(gained=gained, lost=lost):
            return f"alone right on {gained:,} images, alone wrong on {lost:,} ({_p_value(criterion)})"
        case Informed() as found:
            hits = f"{found.hits:,} of {found.positives:,}"
            return f"said on {hits} where true, on {found.false_alarms:,} of {found.negatives:,} where not " + (
                f"({_p_value(criterion)})"
            )
        case Said(positives=positives, said=said):
            return f"said {said:,} times, true on {positives:,} images"
        case Finite(n=n, count=count, images=images):
            named = f": {', '.join(images)}" if images else ""
            return f"{count:,} of {n:,} images have a score that is not a number{named}"
        case Largest() as found:
            other = "" if found.same_files else "; not of the files that are released"
            return f"{found.largest:.1e} of a spread of {found.spread:.2g}, limit {criterion.limit:g} of it{other}"
        case Mean(mean=mean):
            return f"{mean:+.3f}, {_bound(criterion, 1, '')}, limit {criterion.limit:+g}"
        case Noise(error=error, band=band):
            return f"{error:.3f}, by chance up to {band:.3f}"
    raise AssertionError(criterion.evidence)


def missing(criterion: Criterion) -> str:
    """Number of images that would settle an open criterion, and which way."""
    if criterion.more_images is None:
        return "no number of images would show it"
    digits = 10 ** max(len(str(criterion.more_images)) - 2, 0)  # it is an estimate: two digits say all of it
    number = plural(-(-criterion.more_images // digits) * digits, "more image")
    return f"about {number} like these would show {'it' if verdict_to_come(criterion) == 'PASS' else 'that it fails'}"


def line(criterion: Criterion) -> str:
    """All of it in a line."""
    text = f"{title(criterion)}: {figures(criterion)}"
    return f"{text}; {missing(criterion)}" if criterion.verdict == "INCONCLUSIVE" else text


def still_open(criteria: Sequence[Criterion]) -> list[list[Criterion]]:
    """Criteria that did not pass, those of several files together where they say the same; what decides comes first."""
    found: dict[tuple[str, ...], list[Criterion]] = {}
    for one in criteria:
        if one.verdict != "PASS" and worth_a_line(one):
            way = verdict_to_come(one) if one.more_images else ""
            found.setdefault((one.verdict, one.name, one.about or "", way), []).append(one)
    return sorted(found.values(), key=lambda group: (group[0].verdict != "FAIL", group[0].tier != "must pass"))


def outcome(criterion: Criterion) -> str:
    """The meaning of a criterion that did not pass."""
    if criterion.tier == "reported":
        return "not to be called calibrated"
    return criterion.verdict if criterion.tier == "must pass" or criterion.verdict == "FAIL" else "not shown"


def judged_for(number: int) -> str:
    """``judged for the 3rd time``."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"judged for the {number}{ending} time"


def _bound(criterion: Criterion, factor: float, unit: str) -> str:
    bound = criterion.lower if criterion.side == "at least" else criterion.upper
    assert bound is not None
    sign = "+" if criterion.limit <= 0 else ""
    digits = 1 if factor != 1 else 3
    return f"{criterion.side} {bounded(factor * bound, criterion.side, digits):{sign}.{digits}f}{unit}"


def _p_value(criterion: Criterion) -> str:
    assert criterion.p_value is not None
    return f"p {criterion.p_value:.2g}, limit {1 - criterion.confidence:.2g}"
