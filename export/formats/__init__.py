"""Files for other runtimes: one module per format, each with a ``FORMAT``."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from export.config import FormatName
from export.formats import coreml, executorch_xnnpack, openvino_ir
from export.formats.format import Format
from run.errors import UserError

FORMATS: Mapping[FormatName, Format] = {
    "openvino": openvino_ir.FORMAT,
    "executorch": executorch_xnnpack.FORMAT,
    "coreml": coreml.FORMAT,
}


def converted_files(folder: Path) -> list[Path]:
    """The files of every format in an ONNX folder, sorted, as paths inside it."""
    inside = [path for form in FORMATS.values() for path in (folder / form.path.parent).rglob("*")]
    return sorted(path.relative_to(folder) for path in inside if path.is_file())


def require_installed(names: Sequence[FormatName]) -> None:
    """Refuse formats whose package is not there, before the hours that come before export."""
    missing = [name for name in names if not installed(FORMATS[name])]
    if missing:
        raise UserError(
            f"export.formats asks for {', '.join(missing)}, and {how_to_install(*missing)}; "
            "or leave it out of export.formats"
        )


def installed(form: Format) -> bool:
    """True where the package that makes and runs this format is there."""
    return find_spec(form.package) is not None


def how_to_install(*names: FormatName) -> str:
    """Packages that are missing, and the command for them."""
    packages = ", ".join(FORMATS[name].package for name in names)
    extras = ",".join(names)
    # uv's environments have no pip of their own, so both are named.
    return (
        f"{packages} {'is' if len(names) == 1 else 'are'} not installed: in PocketEVA's folder run "
        f"`pip install -e '.[{extras}]'` (with uv: `uv pip install -e '.[{extras}]'`)"
    )
