"""What is installed and run is the code that was looked at: pinned, by digest where it can be."""

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = [(REPOSITORY / f"requirements{which}.lock").read_text(encoding="utf-8") for which in ("", "-uv")]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")


def locked() -> dict[str, str]:
    """Each requirement of the locks by its name, with its hashes."""
    entries = [entry.replace("\\\n", " ") for lock in LOCKS for entry in re.split(r"\n(?=\S)", lock.strip())]
    return {re.split(r"[=\s]", entry)[0]: entry for entry in entries if not entry.startswith("#")}


def test_lock__every_package_has_one_version_and_its_digests() -> None:
    entries = locked()
    assert len(entries) > 100
    loose = [name for name, entry in entries.items() if not re.match(rf"{re.escape(name)}==[\w.!+]+ ", entry)]
    assert loose == []
    assert [name for name, entry in entries.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []
    assert "://" not in "".join(LOCKS)  # no other place to install from


def test_lock__has_everything_that_the_project_asks_for() -> None:
    project = PROJECT["project"]
    asked = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    names = {re.split(r"[\[<>=!~; ]", one)[0].lower() for one in asked}
    assert names - set(locked()) == set()


def test_build__what_runs_on_installing_is_pinned() -> None:
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", one) for one in PROJECT["build-system"]["requires"])
    installs = re.findall(r"pip install.*requirements\S*\.lock", MAKEFILE)
    assert len(installs) == 3, "uv, all else, and the look at what has no wheel"
    assert all("--require-hashes" in line or "--dry-run" in line for line in installs)
    built = re.findall(r"^BUILT := (.+)$", MAKEFILE, re.MULTILINE)[0].split()
    # All else comes as wheels, which run nothing: the lock has none of these packages' wheels to choose instead.
    assert set(built) <= set(locked())


def test_ci__actions_and_tools_are_pinned() -> None:
    workflow = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    steps = yaml.safe_load(workflow)["jobs"]["ci"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one) for one in used)
    assert yaml.safe_load(workflow)["permissions"] == {"contents": "read"}
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert all("==" in line for line in script.splitlines() if "pip install" in line)
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert {hook["repo"] for hook in hooks} == {"local"}
