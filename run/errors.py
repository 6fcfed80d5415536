"""The one exception that means "the user can put this right"."""

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
