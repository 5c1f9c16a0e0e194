"""What does an operator do at the machine itself? Migrate, make keys, show the settings.

python -m hsu_jobs.admin migrate | create-key | adopt-artifacts | config
"""

from __future__ import annotations

import getpass
import os
from datetime import timedelta
from typing import Any

import click
from alembic.util import CommandError
from psycopg.errors import UndefinedColumn, UndefinedTable
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import exc, make_url, select

from hsu_jobs import database
from hsu_jobs.access import audit, keys
from hsu_jobs.artifacts import installation
from hsu_jobs.artifacts.storage import StorageUnavailable
from hsu_jobs.names import UserName
from hsu_jobs.settings import BadSettings, settings, unknown
from hsu_jobs.tables import ApiKey, Role


class _OneLineErrors(click.Group):
    """Prints an error in a line or two, and exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BadSettings as error:
            raise click.ClickException(str(error)) from error
        except exc.OperationalError as error:
            where = make_url(settings().database_url.get_secret_value()).set(query={})
            reason = str(error.orig).strip().splitlines()[0]
            raise click.ClickException(f"{where} does not answer (HSU_DATABASE_URL): {reason}") from error
        except exc.ProgrammingError as error:
            if not isinstance(error.orig, UndefinedTable | UndefinedColumn):
                raise
            advice = "the tables are not as this version needs them: run `python -m hsu_jobs.admin migrate`"
            raise click.ClickException(f"{advice} ({str(error.orig).splitlines()[0]})") from error
        except CommandError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_OneLineErrors)
def main() -> None:
    """Operate an HSU installation."""


@main.command()
@click.argument("revision", default="head")
def migrate(revision: str) -> None:
    """Bring the database to a REVISION: head, or base to empty it."""
    database.migrate(settings().database_url.get_secret_value(), revision)


def _user_name(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    try:
        return TypeAdapter(UserName).validate_python(name)
    except ValidationError as error:
        raise click.BadParameter(
            f"expected letters, digits and . _ @ + -, 64 at most, the first a letter or a digit; found {name[:80]!r}"
        ) from error


@main.command()
@click.option("--user", required=True, callback=_user_name, help="Whose key it is; a new name makes a new user.")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="member", show_default=True)
@click.option("--expires", type=click.FloatRange(min=0, min_open=True), metavar="DAYS", help="Good for so long only.")
def create_key(user: str, role: str, expires: float | None) -> None:
    """Make an API key and print it, once."""
    expires_in = None if expires is None else timedelta(days=expires)
    with database.transaction() as session:
        key = keys.create(session, user=user, role=Role(role), expires_in=expires_in)
        made = session.execute(select(ApiKey).where(ApiKey.digest == keys.digest(key))).scalar_one()
        subject = {"user": user, "role": role, "key": made.prefix}
        session.add(audit.at_the_machine("create-key", operator=_operator(), subject=subject))
    click.echo(key)


def _operator() -> str:
    """The account that runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return f"uid {os.getuid()}"


@main.command()
def adopt_artifacts() -> None:
    """Make the storage that HSU_ARTIFACTS_* name this installation's own, on purpose.

    For a storage that replaces a lost one, or was moved without its marker. Checkpoints whose files are not in it are
    marked as missing permanently: no job continues from them, even if the files come back.
    """
    try:
        with database.transaction() as session:
            found = installation.adopt(session, settings())
    except StorageUnavailable as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"the storage is adopted: it holds {found.kept} checkpoints, {found.missing} are missing")


@main.command()
def config() -> None:
    """Show every setting, secrets hidden."""
    for name, value in settings():
        click.echo(f"HSU_{name.upper()}={value}")
    for fault in unknown():
        click.echo(fault, err=True)


if __name__ == "__main__":
    main()
