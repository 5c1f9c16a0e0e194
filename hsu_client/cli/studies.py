"""Which commands does `hsu study` have? Those for studies: many jobs that are run to be compared."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import click

from hsu_client.cli import render_study, terminal
from hsu_client.cli.following import DETACHED
from hsu_client.client import Client

STUDY = click.argument("study_id", metavar="ID", type=click.IntRange(min=1))
NO_ANSWERS = "no two runs of one seed keep which test examples they got right"
KINDS = ("intervals", "pareto", "axis", "curves")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the service's own answer.")


@click.group()
def study() -> None:
    """Compare: every arm with every seed, what it shows, and how sure that is."""


@study.command()
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Queue nothing: tell how many jobs there would be, and their cost.")
@click.option("--idempotency-key", help="Sending the same study again with the same key gives the same study.")
@AS_JSON
@click.pass_obj
def submit(client: Client, file: BinaryIO, idempotency_key: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Queue the study that FILE (YAML or JSON; - for JSON on standard input) describes."""
    spec = terminal.read_spec(file)
    if dry_run:
        quoted = client.studies.quote(spec)
        _show(quoted, render_study.quote(quoted), as_json=as_json)
        return
    made = client.studies.submit(spec, idempotency_key=idempotency_key)
    _show(made, render_study.details(made), as_json=as_json)


@study.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.pass_obj
def list_studies(client: Client, limit: int) -> None:
    """Your studies, the newest first."""
    found = islice(client.studies.list(page=min(limit, 100)), limit)
    terminal.echo(f"study {each['id']} · {each['owner']} · {each['name']}" for each in found)


@study.command()
@STUDY
@AS_JSON
@click.pass_obj
def show(client: Client, study_id: int, *, as_json: bool) -> None:
    """Show the cells of a study, and how far their runs are."""
    found = client.studies.show(study_id)
    _show(found, render_study.details(found), as_json=as_json)


@study.command()
@STUDY
@click.pass_obj
def follow(client: Client, study_id: int) -> None:
    """Show how the cells of a study fill and its intervals shrink, until it has ended; then its table.

    Exits with 1 unless every run has succeeded.
    """
    try:
        view = _to_the_end(client, study_id)
    except KeyboardInterrupt:
        click.echo(f"\nno longer following: study {study_id} goes on; `hsu study cancel {study_id}` stops it", err=True)
        sys.exit(DETACHED)
    terminal.echo(client.studies.table_text(study_id, "markdown").splitlines())
    if set(view["runs"]) != {"succeeded"}:
        sys.exit(1)


def _to_the_end(client: Client, study_id: int) -> dict[str, Any]:
    view: dict[str, Any] = {}
    for view in client.studies.follow(study_id):
        click.echo(render_study.progress(view), err=True)
        if view["runs"].get("succeeded"):
            for line in render_study.cells(client.studies.table(study_id)):
                click.echo(f"  {line}", err=True)
    return view


@study.command()
@STUDY
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "latex", "csv", "json"]),
    default="markdown",
    show_default=True,
)
@click.pass_obj
def table(client: Client, study_id: int, form: str) -> None:
    """Print what a study shows, as far as its runs have ended."""
    if form == "json":
        terminal.echo_json(client.studies.table(study_id), indent=2)
        return
    terminal.echo(client.studies.table_text(study_id, form).splitlines())


@study.command()
@STUDY
@AS_JSON
@click.pass_obj
def examples(client: Client, study_id: int, *, as_json: bool) -> None:
    """Whether new test examples would show a difference: each cell beside the baseline, on the same examples."""
    found = client.studies.examples(study_id)
    _show(found, [each["verdict"] for each in found["contrasts"]] or [NO_ANSWERS], as_json=as_json)


@click.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@click.argument("other", metavar="OTHER", type=click.IntRange(min=1))
@AS_JSON
@click.pass_obj
def compare(client: Client, job_id: int, other: int, *, as_json: bool) -> None:
    """Compare jobs ID and OTHER on the same test examples: would new examples show a difference?"""
    found = client.compare(job_id, other)
    _show(found, [found["verdict"]], as_json=as_json)


@study.command()
@STUDY
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="intervals",
    show_default=True,
    help="intervals by arm; metric against GPU seconds (pareto) or along an axis; curves with bands.",
)
@click.option("--metric", help="By default the primary one; of curves a measure, as in loss, or MEASURE@LAYER.")
@click.option("--axis", help="The JSON pointer of the axis, as in /regularizer/hidden_weight.")
@click.pass_obj
def figure(client: Client, study_id: int, file: Path, kind: str, metric: str | None, axis: str | None) -> None:
    """Draw FILE (.svg, .pdf or .png): what a study shows."""
    report = _report()
    if kind == "curves":
        measure, _, layer = (metric or "loss").partition("@")
        layers = [layer] if layer else []
        made = report.bands(client.studies.curves(study_id, measures=[measure], layers=layers))
    else:
        made = report.figure(client.studies.table(study_id), kind=kind, metric=metric, axis=axis)
    report.save(made, file)


@study.command()
@STUDY
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def report(client: Client, study_id: int, file: Path) -> None:
    """Write FILE (.html): one page with all tables, figures and runs, which opens offline."""
    studies = client.studies
    written = _report().page(studies.table(study_id), studies.show(study_id), studies.examples(study_id))
    file.write_text(written, encoding="utf-8")


@study.command()
@STUDY
@click.pass_obj
def pause(client: Client, study_id: int) -> None:
    """Keep a study's own jobs from running until it is resumed."""
    terminal.echo(render_study.details(client.studies.pause(study_id)))


@study.command()
@STUDY
@click.pass_obj
def resume(client: Client, study_id: int) -> None:
    """Let a study's own jobs run again."""
    terminal.echo(render_study.details(client.studies.resume(study_id)))


@study.command()
@STUDY
@click.pass_obj
def cancel(client: Client, study_id: int) -> None:
    """Stop a study's own jobs."""
    terminal.echo(render_study.details(client.studies.cancel(study_id)))


@study.command()
@STUDY
@click.option("--seeds", type=click.IntRange(min=1), help="How many more.")
@click.option("--arms", type=click.File("rb"), help="A YAML or JSON file with new arms: a patch of the base by name.")
@click.pass_obj
def extend(client: Client, study_id: int, seeds: int | None, arms: BinaryIO | None) -> None:
    """Add seeds or arms to a study; its table tells so."""
    if seeds is None and arms is None:
        raise click.UsageError("give --seeds or --arms")
    new = terminal.read_spec(arms) if arms else None
    terminal.echo(render_study.details(client.studies.extend(study_id, seeds=seeds, arms=new)))


@study.command()
@STUDY
@click.pass_obj
def retry(client: Client, study_id: int) -> None:
    """Run again only what failed or was cancelled."""
    terminal.echo(render_study.details(client.studies.retry(study_id)))


@study.command()
@STUDY
@click.argument("arm")
@click.option("--tag", required=True, help="Of finished jobs and tracked runs.")
@click.pass_obj
def enlist(client: Client, study_id: int, arm: str, tag: str) -> None:
    """Count jobs and tracked runs that have ended as runs of ARM, which may be a new one."""
    terminal.echo([f"{client.studies.enlist(study_id, arm, tag)} runs enlisted into {arm}"])


@study.command()
@STUDY
@click.pass_obj
def delete(client: Client, study_id: int) -> None:
    """Delete a study whose own jobs have ended. The jobs stay."""
    client.studies.delete(study_id)
    terminal.echo([f"deleted study {study_id}; its jobs stay"])


def _report() -> ModuleType:
    """The room that draws, which needs matplotlib."""
    try:
        from hsu_client import study_report
    except ModuleNotFoundError as error:
        raise click.ClickException(f"figures need matplotlib ({error}): pip install 'hsu-service[plot]'") from error
    return study_report


def _show(answer: dict[str, Any], lines: Any, *, as_json: bool) -> None:
    if as_json:
        terminal.echo_json(answer)
        return
    terminal.echo(lines)
