"""The exception for mistakes that the user can put right, and lists and counts in messages."""

import re
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


def above(where: str, what: str, most: int, unit: str = "bytes") -> str:
    """The one message about something that is larger than is read: a file of others could fill the memory.

    Example:
        >>> above("labels.jsonl, line 3", "the line", 1024)
        'labels.jsonl, line 3: the line is above the limit of 1,024 bytes'
    """
    return f"{where}: {what} is above the limit of {most:,} {unit}"


def quoted(path: object) -> str:
    """A path for messages: in quotes, unless it is made of characters that leave no doubt where it ends.

    Example:
        >>> quoted("images/a.jpg"), quoted("my images")
        ('images/a.jpg', "'my images'")
    """
    text = str(path)
    return text if re.fullmatch(r"[\w./\\:~+@%=-]+", text, re.ASCII) else f"'{text}'"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun, and with a verb where one follows.

    Example:
        >>> plural(1, "image"), plural(1200, "image"), plural(2, "image lies", "images lie")
        ('1 image', '1,200 images', '2 images lie')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
