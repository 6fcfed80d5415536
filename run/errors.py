"""The exception for mistakes that the user can put right, and lists and counts in messages."""

from collections.abc import Iterable


class UserError(ValueError):
    """A wrong config, input or environment: the command line prints its message and exits with code 2.

    The message names the file, row or key that is wrong and says what to do about it.
    """


def listed(items: Iterable[object], limit: int = 10) -> str:
    """One indented line per item, the first ``limit`` of them, then how many more there are."""
    lines = [f"  {item}" for item in items]
    shown = lines[:limit]
    if len(lines) > limit:
        shown.append(f"  … and {len(lines) - limit} more")
    return "\n".join(shown)


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun, and with a verb where one follows.

    Example:
        >>> plural(1, "image"), plural(1200, "image"), plural(2, "image lies", "images lie")
        ('1 image', '1,200 images', '2 images lie')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
