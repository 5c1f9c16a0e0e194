"""Which commands does `hsu` have for jobs? HSU_URL is the service's address, HSU_API_KEY the user's key."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import click
import httpx2

from hsu_client import escapes
from hsu_client.answers import Job
from hsu_client.cli import (
    checkpoints,
    cluster,
    data,
    diff,
    following,
    keys,
    plugins,
    render,
    studies,
    terminal,
    verify,
    webhooks,
)
from hsu_client.client import Client
from hsu_client.export.command import export
from hsu_client.importing.command import import_runs
from hsu_client.problem import Problem, Unreachable


class ToldErrors(click.Group):
    """Reports a refusal of the service on stderr, with each wrong field in a line of its own, and exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (Problem, Unreachable, ValueError, httpx2.InvalidURL) as error:
            raise click.ClickException("\n".join(_told(error))) from error


def _told(error: Exception) -> Iterator[str]:
    yield escapes.visible(" ".join(str(error).split()))
    faults = error.errors if isinstance(error, Problem) else ()
    if len(faults) > 1:
        yield from (escapes.visible(f"  {fault.pointer or 'the body'}: {fault.detail}") for fault in faults)


class WithoutKey:
    """In place of a client: help needs no key, a request does."""

    def __getattr__(self, name: str) -> NoReturn:
        raise click.ClickException("no API key: set HSU_API_KEY, or give --key")


@click.group(cls=ToldErrors)
@click.option("--url", envvar="HSU_URL", show_envvar=True, default="http://127.0.0.1:8000", show_default=True)
@click.option("--key", envvar="HSU_API_KEY", show_envvar=True, help="Your API key.")
@click.version_option(package_name="hsu-service", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context, url: str, key: str | None) -> None:
    """Train networks with hyperspherical uniformity and read their energy curves."""
    terminal.set_up()
    context.obj = context.with_resource(Client(url, key)) if key else WithoutKey()


AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the service's own answer.")
JOB = click.argument("job_id", metavar="ID", type=click.IntRange(min=1))


@main.command()
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--recipe", help="Take the spec from this recipe; the fields of FILE, if given, replace its own.")
@click.option("--seed", type=click.IntRange(min=0), help="Replaces the seed of the spec.")
@click.option("--idempotency-key", help="Sending the same spec again with the same key gives the same job.")
@click.option("--follow", "stay", is_flag=True, help="Stay until the job ended.")
@click.option("--dry-run", is_flag=True, help="Queue nothing: tell what the job would cost, and when it would start.")
@AS_JSON
@click.pass_obj
def submit(
    client: Client,
    file: BinaryIO | None,
    recipe: str | None,
    seed: int | None,
    idempotency_key: str | None,
    *,
    stay: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Queue the job that FILE (JSON or YAML; - for JSON on standard input) or a recipe describes."""
    spec = _spec(client, file, recipe, seed)
    if dry_run:
        quoted = client.quote(spec)
        _show(quoted, render.quote(quoted), as_json=as_json)
        return
    job = client.submit(spec, idempotency_key=idempotency_key)
    _show_made(job, as_json=as_json)
    if job["duplicates"] and not as_json:
        click.echo(render.duplicates(job["duplicates"]), err=True)
    if stay:
        following.follow_to_end(client, job["id"])


def _spec(client: Client, file: BinaryIO | None, recipe: str | None, seed: int | None) -> Any:
    if file is None and recipe is None:
        raise click.UsageError("give a FILE, or --recipe NAME")
    try:
        spec = client.recipe(recipe) if recipe is not None else {}
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    own = terminal.read_spec(file) if file is not None else {}
    if not isinstance(own, dict):
        return own  # the service says what is wrong with it
    return {**spec, **own, **({} if seed is None else {"seed": seed})}


@main.command("show")
@JOB
@AS_JSON
@click.pass_obj
def show_job(client: Client, job_id: int, *, as_json: bool) -> None:
    """Show a job's progress and result."""
    job = client.job(job_id)
    _show(job, render.details(job), as_json=as_json)


@main.command("list")
@click.option("--state", multiple=True, help="Only jobs in this state; repeat for several.")
@click.option("--tag", multiple=True, help="Only jobs with this tag; repeat for all of several.")
@click.option("--regularizer", multiple=True, help="Only jobs with this kind; repeat for several.")
@click.option("--where", multiple=True, metavar="BOUND", help="Only of these results: test_accuracy:gt:0.97.")
@click.option("--sort", help="-created by default; name, -priority, -test_accuracy, test_loss and others.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.pass_obj
def list_jobs(client: Client, /, sort: str | None, limit: int, **filters: Sequence[str]) -> None:
    """Your jobs, newest first."""
    found = client.jobs(page=min(limit, 100), sort=sort, **filters)
    for job, _ in zip(found, range(limit), strict=False):
        terminal.echo([render.listed(job)])


@main.command()
@JOB
@click.pass_obj
def follow(client: Client, job_id: int) -> None:
    """Follow a job and show its progress until it has ended; exits with 1 unless it succeeded."""
    following.follow_to_end(client, job_id)


@main.command()
@JOB
@click.option("--follow", "stay", is_flag=True, help="Stay, and print what happens, until the job has ended.")
@AS_JSON
@click.pass_obj
def events(client: Client, job_id: int, *, stay: bool, as_json: bool) -> None:
    """Show the events of a job."""
    with following.detaching(job_id):
        for event in client.follow_events(job_id) if stay else client.events(job_id):
            _show(event, [render.event(event)], as_json=as_json)


@main.command()
@JOB
@click.pass_obj
def cancel(client: Client, job_id: int) -> None:
    """Ask a job to stop."""
    terminal.echo([render.line(client.cancel(job_id))])


@main.command()
@JOB
@click.pass_obj
def pause(client: Client, job_id: int) -> None:
    """Keep a job from running until it is resumed; a running one first saves its state."""
    terminal.echo([render.line(client.pause(job_id))])


@main.command()
@JOB
@click.pass_obj
def resume(client: Client, job_id: int) -> None:
    """Put a paused job back into the queue."""
    terminal.echo([render.line(client.resume(job_id))])


@main.command(context_settings={"ignore_unknown_options": True})  # a negative PRIORITY is not an option
@JOB
@click.argument("priority", type=click.IntRange(-100, 100))
@click.pass_obj
def prioritise(client: Client, job_id: int, priority: int) -> None:
    """Change a job's PRIORITY, from -100 to 100; jobs of higher priority start first."""
    terminal.echo([render.line(client.prioritise(job_id, priority))])


@main.command()
@JOB
@click.option("--step", type=click.IntRange(min=0), help="Of the checkpoint; the newest by default.")
@click.option(
    "--change", metavar="JSON", default="{}", help='What is different: \'{"regularizer": {"kind": "comhe"}}\'.'
)
@click.option("--idempotency-key", help="Forking again with the same key gives the same job.")
@AS_JSON
@click.pass_obj
def fork(
    client: Client, job_id: int, step: int | None, change: str, idempotency_key: str | None, *, as_json: bool
) -> None:
    """Queue a job that continues from a checkpoint of job ID with a changed spec."""
    try:
        changed = json.loads(change)
    except json.JSONDecodeError as error:
        raise click.ClickException(f"--change is not valid JSON: {error}") from error
    if not isinstance(changed, dict):
        raise click.ClickException(f"--change: expected a JSON object, found {change}")
    job = client.fork(job_id, changed, step=step, idempotency_key=idempotency_key)
    _show_made(job, as_json=as_json)


@main.command()
@JOB
@AS_JSON
@click.pass_obj
def retry(client: Client, job_id: int, *, as_json: bool) -> None:
    """Queue the spec of an ended job once more, from its last checkpoint if it has one."""
    job = client.retry(job_id)
    _show_made(job, as_json=as_json)


@main.command()
@JOB
@click.option("--attempt", type=click.IntRange(min=1), help="Its number; the last one by default.")
@click.option("--tail", type=click.IntRange(min=0), help="Only so many last lines.")
@click.option("--follow", "stay", is_flag=True, help="Stay, and print what comes, until the attempt has ended.")
@click.pass_obj
def log(client: Client, job_id: int, attempt: int | None, tail: int | None, *, stay: bool) -> None:
    """Show the output of an attempt at a job."""
    with following.detaching(job_id):
        for text in client.log(job_id, attempt=attempt, tail=tail, follow=stay):
            click.echo(escapes.visible_text(text), nl=False)


REFERENCES = ("random", "optimum", "bound", "bound_source")
LAYERS = click.option("--layer", "layers", multiple=True, help="Only this layer; repeat for several.")
MEASURES = click.option("--measure", "measures", multiple=True, help="Only this measure; repeat for several.")
RELATIVE_TO = click.option(
    "--relative-to",
    type=click.Choice(["random", "optimum", "bound"]),
    help="The gap to random points, to the proven optimum, or to the optimum or else a bound; of curves that have it.",
)


@main.command()
@JOB
@LAYERS
@MEASURES
@RELATIVE_TO
@click.option("--csv", "as_csv", is_flag=True, help="Every point: layer, measure, step, value, references.")
@click.option(
    "--save",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Every point, into a file: .csv, .parquet or .arrow.",
)
@click.pass_obj
def curves(
    client: Client,
    job_id: int,
    layers: Sequence[str],
    measures: Sequence[str],
    relative_to: str | None,
    file: Path | None,
    *,
    as_csv: bool,
) -> None:
    """A job's energy curves: the first and last value of each, or all points as CSV or in a file.

    Beside them the value of uniformly random points of the layer's shape, and the proven optimum, or else a bound that
    no points surpass, and who proved it.
    """
    if file:
        chosen = {"layer": layers, "measure": measures} | ({"relative_to": relative_to} if relative_to else {})
        with file.open("wb") as out_file:
            out_file.writelines(client.curves_file(job_id, form=file.suffix.removeprefix("."), **chosen))
        return
    found = client.curves(job_id, layers=layers, measures=measures, relative_to=relative_to)
    if not as_csv:
        terminal.echo(render.table(render.summary(found)))
        return
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["layer", "measure", "step", "value", *REFERENCES])
    for curve in found:
        out.writerows(
            (curve.layer or "", curve.measure, *point, *(getattr(curve, name) for name in REFERENCES))
            for point in zip(curve.steps, curve.values, strict=True)
        )


@main.command()
@JOB
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@LAYERS
@MEASURES
@RELATIVE_TO
@click.pass_obj
def plot(
    client: Client, job_id: int, file: Path, layers: Sequence[str], measures: Sequence[str], relative_to: str | None
) -> None:
    """Draw a job's curves into FILE (.png, .svg or .pdf): a panel for each measure, a line for each layer.

    Thin lines of the same colour: the value of random points (dashed), and the proven optimum (dotted), or else a bound
    that no points surpass (dash-dotted).
    Without --measure: each layer's own energy, half-space for hidden layers.
    """
    try:
        from hsu_client.plot import draw  # heavy, and only needed here
    except ModuleNotFoundError as error:
        raise click.ClickException("drawing needs matplotlib: install the `plot` extra") from error
    found = client.curves(job_id, layers=layers, measures=measures, relative_to=relative_to)
    draw(client.job(job_id), found if measures else render.energies(found), file, relative_to=relative_to)
    click.echo(f"drew {file}")


@main.command()
@click.pass_obj
def catalog(client: Client) -> None:
    """Everything that a spec may contain, as JSON with its schemas."""
    terminal.echo_json(client.catalog(), indent=2)


for command in (
    checkpoints.checkpoints,
    import_runs,
    checkpoints.download,
    verify.verify,
    checkpoints.files,
    following.wait,
    diff.diff,
    keys.keys,
    keys.audit,
    cluster.queue,
    cluster.workers,
    cluster.worker,
    cluster.users,
    cluster.user,
    webhooks.webhook,
    data.data,
    studies.study,
    studies.compare,
    plugins.plugin,
    export,
):
    main.add_command(command)


def _show(answer: object, lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        terminal.echo_json(answer)
        return
    terminal.echo(lines)


def _show_made(job: Job, *, as_json: bool) -> None:
    """Print the job that a request has made; a repeated request would make another one."""
    terminal.echo_once(json.dumps(job) if as_json else escapes.visible(render.line(job)))
