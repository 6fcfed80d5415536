"""Text that others wrote, made safe to show, to store and to put into Markdown."""

import re
from collections.abc import Iterable, Sequence

_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What steers a terminal or turns the order of what is read: controls but tab and line break, bidirectional marks; and
halves of surrogate pairs, which cannot be written at all."""
_USER = re.compile(r"(?<=://)[^/\s\"'<>]+@")  # up to the last "@": people do not encode those in their passwords
_SECRET = re.compile(
    r"([?&;#][^=&\s\"']*(?:sig|token|key|secret|passw|pwd|credential|auth|policy)[^=&\s\"']*=)[^&\s\"'<>#]+",
    re.IGNORECASE,
)
"""A parameter of a web address by whose name its value lets people in: signed addresses, tokens, passwords."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escaped(text: str, *, one_line: bool = False) -> str:
    r"""Text with every steering character as ``\u….``, as JSON writes it; tabs and line breaks stay.

    In ``one_line`` they do not: in a name they would pass for the next line of what is said.
    """
    shown = _STEERING.sub(_as_json, text)
    return re.sub(r"[\t\n]", _as_json, shown) if one_line else shown


def redacted(text: str) -> str:
    """Text without the credentials and signatures in its addresses.

    Example:
        >>> redacted("https://me:word@host/a.jpg?width=9&X-Amz-Signature=f00")
        'https://***@host/a.jpg?width=9&X-Amz-Signature=***'
    """
    return _SECRET.sub(r"\1***", _USER.sub("***@", text)) if "://" in text else text


def code_span(name: str) -> str:
    """A name that Markdown, and whoever reads it, takes for nothing else."""
    return "`" + " ".join(escaped(name.replace("`", "'")).split()) + "`"


def plain_markdown(words: str) -> str:
    """Words in one line that Markdown shows as they are."""
    return re.sub(r"([\\`*_\[\]<>&~|])", r"\\\1", " ".join(escaped(words).split()))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; columns of numbers stand to the right."""
    rows = list(rows)
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    rule = ["---:" if all(map(_is_number, column)) else "---" for column in columns]
    lines = ([cell.replace("|", "\\|") for cell in cells] for cells in (header, rule, *rows))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _is_number(cell: str) -> bool:
    """True for a cell that begins like a number and is no sentence, or has nothing in it."""
    return len(cell) <= 30 and re.match(r"[-+−–]?\d|–?$", cell) is not None


def defused(cell: str) -> str:
    """A cell of a table that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _as_json(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
