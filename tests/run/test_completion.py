import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pocketeva
from run.console import console

BASH = shutil.which("bash")
FISH = shutil.which("fish")
ZSH = shutil.which("zsh")
WORDS = [
    (["pre"], ["prepare", "predict"]),
    (["--v"], ["--version"]),
    (["run", "x.yaml", "--teacher.full.l"], ["--teacher.full.lr"]),
    (["run", "x.yaml", "--students[0].fit.l"], ["--students[0].fit.lr"]),
    (["run", "x.yaml", "--ou"], ["--output"]),
    (["cache", "ch"], ["check"]),
    (["push", "x.yaml", "--dr"], ["--dry-run"]),
    (["predict", "release", "--teacher"], []),
]


def script_for(shell: str, folder: Path) -> Path:
    path = folder / f"pocketeva.{shell}"
    with console.capture() as capture:
        assert pocketeva.main(["completion", shell]) == 0
    path.write_text(capture.get())
    return path


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return script_for("bash", tmp_path_factory.mktemp("completion"))


@pytest.mark.skipif(BASH is None, reason="no bash here")
@pytest.mark.parametrize(("words", "expected"), [*WORDS, (["run", ""], [])])
def test_completion_script__in_bash(script: Path, words: list[str], expected: list[str]) -> None:
    code = (
        'source "$1"; shift; COMP_WORDS=(pocketeva "$@"); COMP_CWORD=$#; _pocketeva; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert BASH is not None
    said = subprocess.run([BASH, "-c", code, "bash", script, *words], capture_output=True, text=True, check=True)
    assert said.stdout.split() == expected
    assert said.stderr == ""


@pytest.mark.skipif(FISH is None, reason="no fish here")
@pytest.mark.parametrize(("words", "expected"), WORDS)
def test_completion_script__in_fish(tmp_path: Path, words: list[str], expected: list[str]) -> None:
    assert FISH is not None
    code = f"source {script_for('fish', tmp_path)}; cd $HOME; complete -C 'pocketeva {' '.join(words)}'"
    home = tmp_path / "home"  # without files to complete
    home.mkdir()
    said = subprocess.run(
        [FISH, "--no-config", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(home)},
    )
    assert sorted(said.stdout.split()) == sorted(expected)


@pytest.mark.skipif(ZSH is None, reason="no zsh here")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [("pocketeva run x.yaml --teacher.full.l", "--teacher.full.lr "), ("pocketeva prep", "pocketeva prepare ")],
)
def test_completion_script__in_zsh(tmp_path: Path, typed: str, completed: str) -> None:
    assert ZSH is not None
    if sys.platform == "win32":
        return
    import pty

    process, terminal = pty.fork()
    if not process:
        os.execve(ZSH, ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "PS1": "> "})
    start = "autoload -U +X compinit && compinit -D -u; autoload -U +X bashcompinit && bashcompinit"
    os.write(terminal, f"{start}; source {script_for('zsh', tmp_path)}; print rea''dy\n".encode())
    assert "ready" in read_until(terminal, "ready\r\n")
    os.write(terminal, f"{typed}\t".encode())
    try:
        assert completed in read_until(terminal, completed)
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(terminal)


def read_until(terminal: int, text: str) -> str:
    """What a terminal shows until this comes, for twenty seconds at most."""
    end = time.monotonic() + 20
    shown = ""
    while text not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536).decode("utf-8", "replace")
    return shown
