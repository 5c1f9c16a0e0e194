"""Which commands does `hsu webhook` have? Those for your webhooks and for the messages sent to them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import islice
from typing import Any

import click

from hsu_client.cli import render, terminal
from hsu_client.client import Client

WEBHOOK = click.argument("webhook_id", metavar="ID", type=click.IntRange(min=1))
EVENTS = click.option(
    "--event",
    "events",
    multiple=True,
    help="A kind of event or a state: started, failed; repeat for several.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the service's own answer.")


@click.group()
def webhook() -> None:
    """Send the events of your jobs to an address."""


@webhook.command("list")
@AS_JSON
@click.pass_obj
def list_webhooks(client: Client, *, as_json: bool) -> None:
    """The addresses to which the events of your jobs are sent."""
    every = client.webhooks()
    if as_json:
        terminal.echo_json(every)
        return
    _print(render.webhooks(every))


@webhook.command()
@click.argument("url")
@EVENTS
@AS_JSON
@click.pass_obj
def add(client: Client, url: str, events: Sequence[str], *, as_json: bool) -> None:
    """Send events of your jobs to URL, by default how they end; prints the secret that signs its messages, once."""
    _echo_secret(client.create_webhook(url, events=events), as_json=as_json)


@webhook.command()
@WEBHOOK
@click.option("--url", help="Where it is to lead.")
@EVENTS
@click.option("--active/--inactive", "active", default=None, help="Whether anything is sent.")
@click.pass_obj
def change(client: Client, webhook_id: int, url: str | None, events: Sequence[str], *, active: bool | None) -> None:
    """Change the address of webhook ID, the events that it gets, or whether it is active."""
    wanted = {"url": url, "events": list(events) or None, "active": active}
    changed = client.change_webhook(webhook_id, **{name: value for name, value in wanted.items() if value is not None})
    _print(render.webhooks([changed]))


@webhook.command()
@WEBHOOK
@AS_JSON
@click.pass_obj
def rotate(client: Client, webhook_id: int, *, as_json: bool) -> None:
    """Give webhook ID a new secret, printed once; the old one is no longer used."""
    _echo_secret(client.rotate_webhook(webhook_id), as_json=as_json)


@webhook.command()
@WEBHOOK
@click.pass_obj
def test(client: Client, webhook_id: int) -> None:
    """Send a ping to webhook ID and show the result; exits with 1 unless it was delivered."""
    delivery = client.test_webhook(webhook_id)
    _print(render.deliveries([delivery]))
    if delivery["state"] != "delivered":
        sys.exit(1)


@webhook.command()
@WEBHOOK
@click.option("--state", type=click.Choice(["pending", "delivered", "failed"]), help="Only these.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@AS_JSON
@click.pass_obj
def deliveries(client: Client, webhook_id: int, state: str | None, limit: int, *, as_json: bool) -> None:
    """The messages that were sent to webhook ID or will be, the newest first."""
    sent = list(islice(client.deliveries(webhook_id, state=state, page=min(limit, 100)), limit))
    if as_json:
        terminal.echo_json(sent)
        return
    _print(render.deliveries(sent))


@webhook.command()
@WEBHOOK
@click.argument("delivery_id", metavar="DELIVERY", type=click.IntRange(min=1))
@click.pass_obj
def redeliver(client: Client, webhook_id: int, delivery_id: int) -> None:
    """Send a message once more."""
    _print(render.deliveries([client.redeliver(webhook_id, delivery_id)]))


@webhook.command()
@WEBHOOK
@click.pass_obj
def remove(client: Client, webhook_id: int) -> None:
    """Remove webhook ID and what was sent to it."""
    client.remove_webhook(webhook_id)


def _echo_secret(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        terminal.echo_once(json.dumps(made))
        return
    lines = [*render.table(render.webhooks([made])), f"its secret, shown this once: {made['secret']}"]
    terminal.echo_once("\n".join(lines))


def _print(rows: list[list[str]]) -> None:
    terminal.echo(render.table(rows))
