"""The table that a run ends with."""

from pathlib import Path
from typing import Any

from rich.table import Table

from run.console import console

COLORS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def show(certificate: dict[str, Any], release: Path) -> None:
    """Print what the certificate says, and where the files are."""
    table = Table(title=f"{certificate['name']}: {certificate['test']['groups']} test images", title_justify="left")
    models = certificate["models"]
    table.add_column()
    for model in models:
        table.add_column(model, justify="right")
    for title, cells in _rows(certificate).items():
        table.add_row(title, *(cells[model] for model in models))
    console.print(table)
    majority = certificate["test"]["majority"]
    console.print(f"always saying {majority['label']!r} would be right on {majority['rate']:.1%}")
    for criterion in certificate["criteria"]:
        if criterion["verdict"] == "INCONCLUSIVE":
            more = criterion["more_images"]
            enough = f"about {more:,} more test images would decide" if more else "no number of images would decide"
            console.print(f"{criterion['name']} of {criterion['model']}: too few images to tell; {enough}")
    verdict = certificate["verdict"]
    console.print(f"verdict: [bold {COLORS[verdict]}]{verdict}[/]", markup=True)
    console.print(f"files: {release}")


def _rows(certificate: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Row title → model → cell."""
    models: dict[str, Any] = certificate["models"]
    rows: dict[str, dict[str, str]] = {
        "accuracy": {model: _share(facts["accuracy"]) for model, facts in models.items()},
        "macro F1": {model: f"{facts['macro_f1']:.3f}" for model, facts in models.items()},
        "agreement with teacher": dict.fromkeys(models, ""),
        "  lower bound / target": dict.fromkeys(models, ""),
        "parity with PyTorch": dict.fromkeys(models, ""),
        "size": {model: f"{facts['bytes'] / 1e6:.1f} MB" for model, facts in models.items()},
        "one thread, p50 / p95": {
            model: f"{facts['latency_ms']['p50']:.1f} / {facts['latency_ms']['p95']:.1f} ms"
            for model, facts in models.items()
        },
    }
    for criterion in certificate["criteria"]:
        model, color = criterion["model"], COLORS[criterion["verdict"]]
        if criterion["name"] == "agreement":
            rows["agreement with teacher"][model] = (
                f"{criterion['count']} of {criterion['n']} ({criterion['rate']:.1%})"
            )
            bound = f"{criterion['lower']:.1%} / {criterion['target']:.0%}"
            rows["  lower bound / target"][model] = f"[{color}]{bound}[/]"
        else:
            rows["parity with PyTorch"][model] = f"[{color}]{criterion['largest']:.1e}[/]"
    return rows


def _share(found: dict[str, Any]) -> str:
    return f"{found['rate']:.1%} ({found['lower']:.1%}–{found['upper']:.1%}), n={found['n']}"
