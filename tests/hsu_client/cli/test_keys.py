"""Keys and the audit log, from Python and from a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from hsu_client.cli.main import main
from hsu_client.client import Client
from hsu_client.problem import Problem

Hsu = Callable[..., Any]


@pytest.fixture
def admins_hsu(served: Any) -> Hsu:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, arguments, env={"HSU_URL": served.url, "HSU_API_KEY": served.admin_key})

    return run


def test_a_key_is_made_rotated_and_revoked(client: Client, served: Any) -> None:
    made = client.create_key(name="notebook", role="viewer", expires_in=1000)
    assert next(client.keys())["id"] == made["id"]
    new = client.rotate_key(made["id"])
    with Client(served.url, new["key"]) as other:
        assert next(other.keys())["name"] == "notebook"
    assert client.revoke_key(new["id"])["revoked_at"] is not None
    with Client(served.url, new["key"]) as other, pytest.raises(Problem, match="revoked"):
        next(other.keys())


def test_the_same_from_a_terminal(admins_hsu: Hsu, served: Any) -> None:
    made = admins_hsu("keys", "create", "--name", "robot", "--user", "grace", "--days", "1")
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    listed = admins_hsu("keys").stdout.splitlines()
    assert listed[0].split()[:4] == ["id", "prefix", "name", "user"]
    key_id = next(line.split()[0] for line in listed if key.split("_")[1] in line)
    new = admins_hsu("keys", "rotate", key_id, "--overlap", "60").stdout.strip()
    assert new.startswith("hsu_")
    assert new != key
    assert "revoked" in admins_hsu("keys", "revoke", key_id).stdout
    told = admins_hsu("audit", "--user", "root", "--limit", "3").stdout.splitlines()
    assert len(told) == 4
    assert "DELETE /v1/keys/{key_id}" in told[1]
    assert f"key_id={key_id}" in told[1]


def test_the_audit_log_is_for_admins(client: Client) -> None:
    with pytest.raises(Problem, match="admin"):
        next(client.audit())
