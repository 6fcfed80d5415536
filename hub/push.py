"""Stage 5: publish the release, if its certificate allows it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from export.page.runtime import RUNTIME, write_runtime
from export.page.write import INDEX
from export.release import Release
from hub.card import released_models, write_cards
from hub.config import HubConfig
from hub.contents import require_allowed, require_impersonal
from hub.origins import require_carried
from hub.remote import Pushed, files_of
from hub.send import RECORD, Sending, send
from hub.signature import private_key, set_signature
from hub.transformers_js import measure_transformers_js
from run.console import console
from run.errors import UserError, listed, quoted
from run.files import file_digest, remove
from run.folder import RunFolder
from verify.certificate import CERTIFICATE, Certificate
from verify.seal import file_differences, files_of_release
from verify.verify import Verification, doubts


def push(
    verification: Verification,
    config: HubConfig,
    *,
    dry_run: bool,
    allow_unverified: bool,
    pull_request: bool = False,
    overwrite: bool = False,
    private: Sequence[str] = (),
) -> list[Pushed]:
    """Write the cards and push every release folder to its repository, each as one commit.

    Args:
        verification: the release, and all that it is judged by: it is judged again.
        config: where to, and what the cards say.
        dry_run: write the cards, print what would be pushed, and do not touch the network.
        allow_unverified: push what the certificate does not vouch for; the cards then say so at their top.
        pull_request: open pull requests, and leave the branches as they are.
        overwrite: replace what others changed in the repositories since this run was last pushed.
        private: where images and models of the run lie, which no file may name.

    Returns:
        One entry per release folder.

    Raises:
        UserError: nothing to push, nowhere to push it, a license that its weights may not have, files that no release
            has or that tell of this machine, the certificate does not hold for it, the runtime of its pages is not to
            be had, the key cannot sign, a repository was changed by somebody else, or the Hub refuses.
    """
    run = verification.run
    if config.signing_key is not None:
        private_key(config.signing_key)  # refused here, before anything is made
    repos: dict[Path, str] = {}
    models = [model for model in released_models(Release(run.release)) if config.publishes(model.name)]
    require_carried(models, config.license)
    for model in models:
        repos[model.checkpoint] = config.repository(model.name)
        repos[model.onnx] = config.repository(model.name, onnx=True)
    certificate = read_certificate(run)
    # Before cards are written: what would be pushed is compared as it was found.
    differences = [] if certificate is None else _differences(verification, certificate)
    if not allow_unverified:
        _require_verified(run, certificate, differences)
    require_allowed(repos)
    javascript = measure_transformers_js(models, fetch=not dry_run) if config.transformers_js else None
    cards = write_cards(run, certificate, config, differences, javascript)
    # Before the first request, and over the cards too.
    meant = replace(config, signing_key=None)  # a place of this machine is for nobody to read
    require_impersonal(repos, private, f"{meant} {run.root.name}")
    if dry_run:
        for card in (card for card in cards if card.parent in repos):
            _describe(card.parent, repos[card.parent], card)
        return [Pushed(folder.name, repo, None, changed=False) for folder, repo in repos.items()]
    # After every refusal, and before the first request: it may have to be fetched.
    _write_runtimes(repos, config)
    # Last of all that is written: it is over every other file.
    for folder in repos:
        set_signature(folder, config.signing_key)
    verdict = "not verified" if certificate is None or differences else certificate.verdict
    how = Sending(
        message=f"PocketEVA release {run.root.name}: {verdict}",
        private=config.private,
        # A release is known by its certificate: the same tag in all of its repositories.
        tag=f"release-{file_digest(run.verify / CERTIFICATE)[:12]}" if verdict == "PASS" else None,
        collection=config.repo if config.collection else None,
        pull_request=pull_request,
        overwrite=overwrite,
    )
    return send(repos, how, run.root / RECORD)


def read_certificate(run: RunFolder) -> Certificate | None:
    """The run's certificate; null where nothing was verified.

    Raises:
        UserError: it is damaged, or of another schema version.
    """
    path = run.verify / CERTIFICATE
    return Certificate.read(path) if path.is_file() else None


def _differences(verification: Verification, certificate: Certificate) -> list[str]:
    """Differences between the release and its certificate, starting with the files themselves."""
    changed = file_differences(files_of_release(verification.run.release), certificate.files)
    if changed:
        return changed
    try:
        return doubts(verification, certificate)
    except UserError as error:
        return [str(error)]


def _require_verified(run: RunFolder, certificate: Certificate | None, differences: Sequence[str]) -> None:
    path = run.verify / CERTIFICATE
    reasons = list(differences)
    if certificate is None:
        reasons = [f"{quoted(path)} does not exist"]
    elif certificate.verdict != "PASS":
        reasons.append(f"{quoted(path)} says {certificate.verdict}")
    if reasons:
        raise UserError(
            "the release is not verified:\n"
            + listed(reasons)
            + "\nRun `pocketeva verify` with the options that you give `push` (after `pocketeva export` if files were "
            "changed), or push with --allow-unverified; the cards will then say so at their top."
        )


def _write_runtimes(repos: Mapping[Path, str], config: HubConfig) -> None:
    """Write the runtime of the pages; without ``hub.page``, remove that of an earlier push."""
    for folder in repos:
        if (folder / INDEX).is_file():
            if config.page:
                write_runtime(folder)
            else:
                remove(folder / RUNTIME)


def _describe(folder: Path, repo: str, card: Path) -> None:
    """Print the files that would go to a repository, and its card."""
    console.print(f"\n{repo}", style="bold", markup=False)
    for path in files_of(folder):
        size = path.stat().st_size
        console.print(f"  {size:>13,} bytes  {path.relative_to(folder).as_posix()}", markup=False, soft_wrap=True)
    console.print("\n" + card.read_text(encoding="utf-8"), markup=False, soft_wrap=True)
