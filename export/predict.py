"""The verb ``predict``: a released model over files, folders, patterns, or paths on standard input."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from data.decode import DecodeError
from data.parallel import in_processes
from data.storage import shown
from export.answers import Answer, Format, printer
from export.choose import find_model
from export.limits import bounded_memory
from export.named_images import named_images
from export.predictor import NotANumberError, Predictor
from run.console import log, progress
from run.errors import UserError, listed, plural
from run.usage import usable_cores

_worker: list[Predictor] = []
"""In a process of several: its model."""


def predict(
    release: Path, names: Sequence[str], *, form: Format = "table", top: int | None = None, processes: int = 1
) -> None:
    """Print label or labels, scores and time of every image, as they come.

    Args:
        release: a run, a release, a model's folder in it, or a model file.
        names: image files, folders to be walked, patterns and URIs, or ``-`` for paths on standard input.
        form: of the output.
        top: labels to print of each image, the likeliest first; null prints what is decided, and to programs all.
        processes: that share the images out, each with a model of its own on its share of the cores.

    Raises:
        UserError: the model or an image does not exist, or images cannot be read or have no numbers as scores (the
            others are printed all the same).
    """
    file = find_model(release)
    with bounded_memory(file):
        _predict(Predictor(file), named_images(names), form, top, processes)


def _predict(model: Predictor, files: Iterable[str], form: Format, top: int | None, processes: int) -> None:
    log.print(f"predicting with {model.file}", soft_wrap=True)
    show = printer(form, model.labels, top)
    total = 0
    failed: list[str] = []
    decided: Counter[str] = Counter()
    started = time.perf_counter()
    for answer in _shown_progress(_answers(model, files, processes), files):
        show(answer)
        total += 1
        if answer.prediction is None:
            failed.append(f"{shown(answer.path)}: {answer.error}")
        else:
            decided.update(answer.prediction.labels or ("no label",))
    seconds = time.perf_counter() - started
    counts = ", ".join(f"{count:,} {name}" for name, count in decided.most_common()) or "no answer"
    images = plural(total, "image")
    log.print(f"{images} in {seconds:.1f} s ({total / seconds:.1f}/s): {counts}", soft_wrap=True)
    if failed:
        raise UserError(f"{len(failed)} of {images} cannot be read:\n{listed(failed)}")


def _answers(model: Predictor, files: Iterable[str], processes: int) -> Iterator[Answer]:
    if processes == 1:
        yield from (_answer(model, file) for file in files)
        return
    threads = max(1, usable_cores() // processes)
    with in_processes(processes, "predicting", partial(_open_in_worker, model.file, threads)) as run:
        yield from run(_answer_in_worker, files)


def _open_in_worker(file: Path, threads: int) -> None:
    _worker.append(Predictor(file, threads))


def _answer_in_worker(file: str) -> Answer:
    return _answer(_worker[0], file)


def _answer(model: Predictor, file: str) -> Answer:
    try:
        return Answer(file, model.predict(file))
    except (DecodeError, NotANumberError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return Answer(file, None, str(reason))


def _shown_progress(answers: Iterable[Answer], files: Iterable[str]) -> Iterator[Answer]:
    """The answers, with a bar beside them where they go into a file: on a terminal they are the progress."""
    if sys.stdout.isatty() or not isinstance(files, Sequence):
        yield from answers
        return
    with progress("predicting", len(files)) as advance:
        for answer in answers:
            yield answer
            advance(1)
