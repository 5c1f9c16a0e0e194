"""What does an operator do at the machine itself? Migrate, make keys, show the settings.

python -m hsu_jobs.admin migrate | create-key | adopt-artifacts | config
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from hsu_jobs import database, installation, keys
from hsu_jobs.settings import settings
from hsu_jobs.storage import StorageUnavailable
from hsu_jobs.tables import Role


@click.group()
def main() -> None:
    """Operate an HSU installation."""


@main.command()
@click.argument("revision", default="head")
def migrate(revision: str) -> None:
    """Bring the database to a REVISION: head, or base to empty it."""
    database.migrate(settings().database_url.get_secret_value(), revision)


@main.command()
@click.option("--user", required=True, help="Whose key it is; a new name makes a new user.")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="member", show_default=True)
@click.option("--expires", type=click.FloatRange(min=0, min_open=True), metavar="DAYS", help="Good for so long only.")
def create_key(user: str, role: str, expires: float | None) -> None:
    """Make an API key and print it, once."""
    expires_at = None if expires is None else datetime.now(UTC) + timedelta(days=expires)
    with database.transaction() as session:
        key = keys.create(session, user=user, role=Role(role), expires_at=expires_at)
    click.echo(key)


@main.command()
def adopt_artifacts() -> None:
    """Make the storage that HSU_ARTIFACTS_* name this installation's own, on purpose.

    After the old one is lost for good, or was moved without its marker. Checkpoints whose files are not in it are noted
    as missing, for good: nothing goes on from them, also if they come back.
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


if __name__ == "__main__":
    main()
