"""Steps that verbs are made of, and going through them. What a step imports, it imports itself: torch takes seconds."""

import shlex
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Literal

from data.config import SourceConfig
from data.place import require_place
from run.console import console, log, say_with_time
from run.errors import UserError, quoted
from run.files import atomic_path, write_text
from run.hardware import require_hardware
from run.ranks import once, this_rank
from run.usage import duration, peak_memory
from verbs.config import Config, as_yaml, read_config
from verbs.run import Run, existing


@dataclass(frozen=True)
class Step:
    """A part of a verb."""

    function: Callable[..., bool | None]
    """Takes the run, null in a verb without a config, and the options; gives false where a check does not pass."""
    processes: Literal["first", "all", "each"] = "first"
    """Of several: the first, while the others wait; all of them as one; or each by itself, with no network between."""
    needs: Callable[[Run], None] | None = None
    """Refuses a run whose earlier stages are not done, or whose files are not there: at once, before what the step
    imports is imported."""
    option: str | None = None
    """The step is left out unless this option is given."""

    @property
    def name(self) -> str:
        """For messages."""
        return self.function.__name__.strip("_").replace("_", " ")


def _needs_sources(run: Run) -> None:
    data = run.config.data
    require_place(data, "data")
    if data.unlabeled is not None:
        require_place(data.unlabeled, "data.unlabeled")


def _needs_manifest(run: Run) -> None:
    existing(run.folder.manifest, "prepare")


def _needs_teacher(run: Run) -> None:
    _needs_manifest(run)
    run.require_model("teacher")


def _needs_students(run: Run) -> None:
    _needs_teacher(run)
    for name in (*run.students, *run.baselines.values()):
        run.require_model(name)


def _needs_release(run: Run) -> None:
    existing(run.folder.release, "export")


def _init(_: None, options: Namespace) -> None:
    require_place(SourceConfig(path=options.path), "data")  # before the seconds that looking at hardware takes
    from start.init import init

    chosen = {"teacher": options.teacher, "student": options.student, "from_scratch": options.from_scratch}
    file = init(Config, options.path, options.overrides, file=options.config, **chosen)
    console.print(f"{quoted(file)} is written; to run it: pocketeva run {shlex.quote(str(file))}", soft_wrap=True)


def _config(_: None, options: Namespace) -> None:
    from run.reference import reference, schema

    if options.schema:
        console.print(schema(Config), soft_wrap=True, end="")
    elif options.reference:
        console.print(reference(Config), soft_wrap=True, end="")
    elif options.config is None:
        raise UserError("give a config file, --reference or --schema")
    else:
        console.print(as_yaml(read_config(options.config, options.overrides)), soft_wrap=True, end="")


def _views(run: Run, options: Namespace) -> None:
    from data.readers.source import Source
    from start.sheet import draw_sheet, pick, specs_of

    config = run.config
    specs = specs_of(config.teacher, config.students)
    pictures = pick(Source(config.data, run.labels, run.folder.data / "images"), options.images)
    path = run.folder.root / "views.png"
    with atomic_path(path) as unfinished:
        draw_sheet(pictures, config.views, specs, min(options.views, config.views.count)).save(unfinished, "PNG")
    console.print(f"{quoted(path)}: images as the teacher and the students will see them", soft_wrap=True)


def _prepare(run: Run, _: Namespace) -> None:
    from data.audit import Promise
    from data.prepare import prepare
    from export.points.fit import require_enough_images
    from verify.ledger import confidence_of_look

    asked = run.config.verify
    promise = Promise(asked.agreement, confidence_of_look(1, asked.confidence))
    prepare(run.folder, run.labels, run.config.data, promise=promise, slices=asked.slices)
    # Before hours of training: a promise that the calibration split is too small for cannot be kept by any model.
    require_enough_images(run.manifest(), run.decision)


def _require_judgeable(run: Run, _: Namespace) -> None:
    from verify.verify import require_test_images

    require_test_images(run.manifest(), run.config.verify)


def _list_suspects(run: Run, _: Namespace) -> None:
    from train.suspects import write_suspects

    write_suspects(run.context(), run.manifest(), run.model("teacher"), run.config.views)


def _require_trainable(run: Run, options: Namespace) -> None:
    from distill.require import require_room_to_train, require_trainable, require_weights

    config = run.config
    folders = [run.folder.teacher, *map(run.folder.student, run.students)]
    trained = [(folder / "model").exists() for folder in folders]
    try:
        require_trainable(config.teacher, config.students, len(run.labels))
        require_weights(config.teacher, config.students, trained)
        require_room_to_train(config.teacher, config.students, trained, run.labels, config.trainer)
    except UserError as error:
        raise UserError("\n".join(f"{options.config}: {line}" for line in str(error).splitlines())) from error


def _require_current(run: Run, _: Namespace) -> None:
    from data.prepare import require_current

    run.manifest()  # first: a stage out of order is refused in an instant
    require_current(run.folder, run.labels, run.config.data, run.config.verify.slices)


def _train(run: Run, _: Namespace) -> None:
    from train.train import train

    train(run.context(), run.manifest(), run.config.teacher, run.config.views, run.config.labels.costs)


def _distill(run: Run, _: Namespace) -> None:
    from distill.distill import distill
    from train.teacher import load_teacher

    context = run.context()
    manifest = run.manifest()
    teacher = load_teacher(context, run.labels)
    views = run.config.views
    costs = run.config.labels.costs
    for student in run.config.students:
        distill(context, manifest, student, views, teacher, costs)
        if student.baseline:
            unpublished = replace(context, publish=None)
            distill(unpublished, manifest, student.as_baseline(), views, teacher, costs)


def _export(run: Run, _: Namespace) -> None:
    from export.export import export, export_baseline

    context = run.context()
    manifest = run.manifest()
    models = {name: run.model(name) for name in ("teacher", *run.students)}
    blur = run.config.hub.not_for_all_audiences
    export(context, manifest, run.config.export, models, run.decision, blur=blur)
    for name in run.baselines.values():
        export_baseline(context, manifest, run.config.export, name, run.model(name), run.decision)


def _verify(run: Run, _: Namespace) -> bool:
    from verify.report.write import write_report
    from verify.summary import show
    from verify.verify import verify

    asked = run.verification()
    certificate = verify(asked)
    report = write_report(asked, certificate, run.source)
    show(certificate, run.folder.release)
    console.print(f"report: {report}", soft_wrap=True)
    return certificate.verdict == "PASS"


def _errors(run: Run, _: Namespace) -> None:
    from verify.gallery import gallery

    path = run.folder.verify / "errors.html"
    write_text(path, gallery(run.folder, run.manifest(), run.students))
    console.print(f"{quoted(path)}: open it in a browser; it holds your images and stays here", soft_wrap=True)


def _compare(run: Run, options: Namespace) -> bool:
    from verify.update import compare_with, show_update

    updates, flips = compare_with(run.verification(), options.against)
    return show_update(updates, flips, run.folder.verify / "flips.csv")


def _write_cards(run: Run, _: Namespace) -> None:
    from hub.card import write_cards
    from hub.push import read_certificate

    write_cards(run.folder, read_certificate(run.folder), run.hub)


def _push(run: Run, options: Namespace) -> None:
    from hub.push import push

    push(
        run.verification(),
        run.hub,
        dry_run=options.dry_run,
        allow_unverified=options.allow_unverified,
        pull_request=options.pr,
        overwrite=options.overwrite,
        private=run.places,
    )


def _recheck(_: None, options: Namespace) -> bool:
    from hub.recheck import show_recheck

    run = Run(read_config(options.data)) if options.data else None
    data = (run.manifest(), run.config.verify) if run else None
    return show_recheck(options.release, data, options.public_key)


def _cache(run: Run, options: Namespace) -> bool:
    from distill.cache import build_cache, check_cache

    config = run.config
    require_hardware(config.trainer)
    if options.action == "check":
        return check_cache(run.context(), run.manifest(), config.teacher, config.views, options.sample)
    build_cache(run.context(), run.manifest(), config.teacher, config.views, config.students)
    return True


def _predict(_: None, options: Namespace) -> None:
    from export.predict import predict

    predict(options.release, options.images, form=options.format, top=options.top, processes=options.processes)


def _page(_: None, options: Namespace) -> None:
    from export.page.serve import show_page

    show_page(options.release, options.port)


def _check_golden(_: None, options: Namespace) -> bool:
    from export.golden.check import show_golden

    return show_golden(options.release)


def _inspect(_: None, options: Namespace) -> None:
    from hub.inspection.inspect import print_inspection
    from hub.inspection.record import Limits

    limits = Limits(export=not options.no_export, huge=options.huge)
    print_inspection(options.model, limits, as_json=options.format == "json")


def _read_published(run: Run, options: Namespace) -> None:
    from hub.published import read_published

    # Before images are prepared, which may take hours: a model without figures or with other labels is refused at once.
    options.model = read_published(options.release, run.labels, options.published, huge=options.huge)


def _reproduce(run: Run, options: Namespace) -> bool:
    from hub.reproduce import judged_images, print_figures, reproduce

    manifest = run.manifest()
    figures = reproduce(run.folder, options.model, manifest, run.config.trainer, options.tolerance)
    images = len(judged_images(manifest))
    return print_figures(options.model, figures, images, options.tolerance, as_json=options.format == "json")


INIT = Step(_init)
PRINT_CONFIG = Step(_config)
VIEWS = Step(_views, needs=_needs_sources)
CHECK = Step(_require_trainable)
CURRENT = Step(_require_current)
PREPARE = Step(_prepare, needs=_needs_sources)
JUDGEABLE = Step(_require_judgeable)
"""Before hours of training: a test split that `verify` would refuse."""
TRAIN = Step(_train, "all", _needs_manifest)
DISTILL = Step(_distill, "all", _needs_teacher)
EXPORT = Step(_export, needs=_needs_students)
VERIFY = Step(_verify, needs=_needs_release)
SUSPECTS = Step(_list_suspects, option="suspects")
COMPARE = Step(_compare, option="against")
CARDS = Step(_write_cards)
ERRORS = Step(_errors)
PUSH = Step(_push, needs=_needs_release)
CACHE = Step(_cache, "each", _needs_manifest)
RECHECK = Step(_recheck)
PREDICT = Step(_predict)
PAGE = Step(_page)
CHECK_GOLDEN = Step(_check_golden)
INSPECT = Step(_inspect)
PUBLISHED = Step(_read_published)
REPRODUCE = Step(_reproduce)

STAGES: Mapping[str, Sequence[Step]] = {
    "prepare": [PREPARE],
    "train": [CURRENT, CHECK, TRAIN],
    "distill": [CURRENT, CHECK, DISTILL],
    "export": [EXPORT],
    "verify": [VERIFY],
    "run": [CHECK, PREPARE, JUDGEABLE, TRAIN, DISTILL, EXPORT, VERIFY, CARDS],
}
"""The steps of each stage done by itself, and of all in a row."""

BEFORE_VERIFY = frozenset({PREPARE, TRAIN, DISTILL, EXPORT})
"""Steps that look at once for what a later one would miss: hours later is too late."""


def require_ready(run: Run, steps: Sequence[Step]) -> None:
    """Refuse at once what a step would refuse after seconds of imports, or hours of work."""
    # With `prepare` among them, each step makes what the next one needs.
    for step in (PREPARE,) if PREPARE in steps else steps:
        if step.needs is not None:
            step.needs(run)
    if not BEFORE_VERIFY.isdisjoint(steps):
        _require_usable(run.config)


def _require_usable(config: Config) -> None:
    """Refuse models that do not exist, and packages that are not installed."""
    from export.formats import require_installed
    from models.names import require_name

    require_name(config.teacher.model, "teacher", pretrained=config.teacher.pretrained)
    for index, student in enumerate(config.students):
        require_name(student.model, f"students[{index}]", pretrained=student.pretrained)
    if config.export.formats:
        require_installed(config.export.formats)
    if config.tracking.tensorboard and find_spec("tensorboard") is None:
        raise UserError(f"tracking.tensorboard is true, and {how_to_install('tensorboard', extra='tensorboard')}")


def go_through(steps: Sequence[Step], run: Run | None, options: Namespace) -> bool:
    """Take these steps one after the other, and say how long each took; false where a check did not pass."""
    passed = True
    times: dict[str, float] = {}
    with _held(run, steps):
        for step in steps:
            if step.option is not None and not getattr(options, step.option):
                continue
            started = time.monotonic()
            work = partial(step.function, run, options)
            passed &= (once(work) if step.processes == "first" else work()) is not False
            if step in (CHECK, CURRENT, JUDGEABLE):
                continue
            times[step.name] = time.monotonic() - started
            if run is not None and not log.is_terminal:
                say_with_time(f"{step.name}: {duration(times[step.name])}")
    if len(times) > 1:
        log.print(_said_of(times), soft_wrap=True)
    return passed


def _held(run: Run | None, steps: Sequence[Step]) -> AbstractContextManager[None]:
    """Hold the run's folder for this command."""
    if run is None:
        return nullcontext()
    if any(step.processes != "each" for step in steps):
        return run.held()
    # The processes know nothing of each other: the first holds the folder for all.
    return run.folder.locked() if this_rank().number == 0 else nullcontext()


def how_to_install(package: str, extra: str = "train") -> str:
    """The message about a package that something needs."""
    command = f"pip install '.[{extra}]'"
    return f"the package {package} is not installed: in PocketEVA's folder run `{command}` (with uv: `uv {command}`)"


def _said_of(times: Mapping[str, float]) -> str:
    """The time of each step, and the memory of all."""
    steps = ", ".join(f"{name} {duration(seconds)}" for name, seconds in times.items())
    memory = peak_memory()
    return f"time: {steps}" + (f"; memory: at most {memory}" if memory else "")
