"""Which commands of `hsu` concern access? Those for API keys and for the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import click

from hsu_client.cli import render, terminal
from hsu_client.client import Client

KEY = click.argument("key_id", metavar="ID", type=click.IntRange(min=1))
_DAY = 86400


@click.group(invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """Your API keys, the newest first (all users' for an admin); make, rotate or revoke one."""
    if context.invoked_subcommand is None:
        _print(_keys(context.obj.keys()))


@keys.command()
@click.option("--name", default="", help="To tell it from others.")
@click.option("--user", help="Whose it is; another's only for admins.")
@click.option("--role", type=click.Choice(["viewer", "member", "admin"]), help="Not above your own, which is usual.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Good for so long only.")
@click.pass_obj
def create(client: Client, name: str, user: str | None, role: str | None, days: float | None) -> None:
    """Make a key and print it, once."""
    seconds = None if days is None else days * _DAY
    terminal.echo_once(client.create_key(name=name, user=user, role=role, expires_in=seconds)["key"])


@keys.command()
@KEY
@click.option("--overlap", type=click.FloatRange(min=0), default=0.0, help="Seconds for which the old key still opens.")
@click.pass_obj
def rotate(client: Client, key_id: int, overlap: float) -> None:
    """Print a new key that replaces key ID."""
    terminal.echo_once(client.rotate_key(key_id, overlap=overlap)["key"])


@keys.command()
@KEY
@click.option("--keep-descendants", is_flag=True, help="Leave the keys that it made.")
@click.pass_obj
def revoke(client: Client, key_id: int, *, keep_descendants: bool) -> None:
    """Revoke key ID, and the keys that were made with it, and with those."""
    revoked = client.revoke_key(key_id, descendants=not keep_descendants)
    _print(_keys([revoked]))
    if revoked["revoked_along"]:
        terminal.echo([f"revoked along: {', '.join(map(str, revoked['revoked_along']))}"])


@click.command()
@click.option("--user", help="Only what this user did.")
@click.option("--action", help="Only this method and route: 'POST /v1/jobs'.")
@click.option("--since", metavar="TIME", help="Not before, like 2026-11-25T09:30:00Z.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@click.pass_obj
def audit(client: Client, user: str | None, action: str | None, since: str | None, limit: int) -> None:
    """Who changed what, the newest first (for admins)."""
    entries = islice(client.audit(user=user, action=action, since=since), limit)
    rows = [
        [
            render.utc(entry["at"]),
            *(str(entry[name]) for name in ("user", "key_prefix", "address", "status", "action")),
            " ".join(f"{name}={value}" for name, value in entry["subject"].items()),
        ]
        for entry in entries
    ]
    _print([["at", "user", "key", "from", "answer", "action", "what"], *rows])


def _keys(every: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    rows = [
        [
            *(str(key[name]) for name in ("id", "prefix", "name", "user", "role")),
            render.utc(key["last_used_at"]) or "never",
            _end(key),
            "an operator" if key["made_by"] is None else f"key {key['made_by']}",
        ]
        for key in every
    ]
    return [["id", "prefix", "name", "user", "role", "last used", "until", "made by"], *rows]


def _end(key: Mapping[str, Any]) -> str:
    if key["revoked_at"]:
        return f"revoked {render.utc(key['revoked_at'])}"
    return render.utc(key["expires_at"]) or "no end"


def _print(rows: list[list[str]]) -> None:
    terminal.echo(render.table(rows))
