"""Who holds the sessions of a real server: a greedy user and a modest one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx2
from serving import AsUser, Serving
from sqlalchemy import text

from api.dependencies.session import AT_ONCE
from hsu_jobs import database


def test_requests_of_a_greedy_user_leave_sessions_to_a_modest_one(
    server: Serving, ada: httpx2.Client, as_user: AsUser
) -> None:
    """The greedy one's requests stand still in the database; the modest one's are answered meanwhile."""
    many = 3 * AT_ONCE
    with as_user(server, "bob") as bob, ThreadPoolExecutor(many) as pool:
        with database.transaction() as session:
            session.execute(text("LOCK TABLE webhooks IN ACCESS EXCLUSIVE MODE"))
            stuck = [pool.submit(ada.get, "/v1/webhooks") for _ in range(many)]
            for _ in range(20):
                assert bob.get("/v1/jobs").status_code == 200
            assert not any(each.done() for each in stuck)
        assert {each.result().status_code for each in stuck} == {200}
