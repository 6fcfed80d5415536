"""Names that the Hub takes: ids of repositories and data sets, and licenses. What it would refuse is refused early."""

import difflib
from pathlib import Path

_LISTED = """
apache-2.0 mit openrail openrail++ bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0
cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl
gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 lgpl-lr isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openmdw-1.0 openmdw-1.1
osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl h-research intel-research apple-ascl apple-amlr
deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
grok2-community gemma unknown other
"""
"""The identifiers that the Hub's page about licenses lists, in November 2026."""
_LICENSES = frozenset(_LISTED.split())


def refusal(repo: str) -> str:
    """The reason for which the Hub refuses an id of a repository or a data set; empty where it takes it."""
    from huggingface_hub.errors import HFValidationError  # takes a while, and most commands do without
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    if not repo.isascii():
        return "letters have to be those of ASCII"  # the client lets others pass, and the Hub does not
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        return str(error).replace(f": '{repo}'", "").removesuffix(".")
    return ""


def is_data_set(name: str) -> bool:
    """True for an id that the Hub takes; a path that is there is never taken for one, as in ``data.path``."""
    return not refusal(name) and not Path(name).exists()


def is_license(name: str) -> bool:
    """True for an identifier that the Hub takes in a card."""
    return name in _LICENSES


def nearest_license(name: str) -> str:
    """The identifier most like a name."""
    near = difflib.get_close_matches("-".join(name.lower().split()), sorted(_LICENSES), n=1, cutoff=0.5)
    return near[0] if near else "apache-2.0"
