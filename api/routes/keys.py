"""Keys: make, look at, rotate, revoke. A key is shown once, when it is made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.dependencies import key_cache
from api.dependencies.auth import Member, Viewer
from api.dependencies.session import Session
from api.problems import problems
from api.views.each_row import shown
from api.views.jobs import View
from hsu_core.spec.values import EXACT, Real
from hsu_jobs import database, queries
from hsu_jobs.access import keys
from hsu_jobs.access.keys import Issued
from hsu_jobs.errors import BadRequest, Fault, Forbidden, Gone, NotFound, SpecRejected, Unauthorized
from hsu_jobs.names import UserName
from hsu_jobs.tables import ApiKey, Role
from hsu_jobs.timestamps import Timestamp

router = APIRouter(prefix="/v1/keys", tags=["keys"])

Label = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=100)]
Seconds = Annotated[Real, Field(gt=0, le=10 * 366 * 86400)]
Overlap = Annotated[Real, Field(ge=0, le=30 * 86400)]


class KeyView(View):
    """A key, without its secret."""

    id: int
    prefix: str
    """The part of the key that may be shown: `hsu_<prefix>_…`."""
    name: str
    user: str
    role: Role | str
    """`admin`, `member`, `viewer`, or a role of a newer version: such a key gives no access here."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """Accurate to about a minute."""
    revoked_at: datetime | None
    made_by: int | None
    """The id of the key that asked for it; null if an operator made it at the machine."""
    replaces: int | None
    """The id of the key that it replaces after a rotation."""

    @classmethod
    def of(cls, row: ApiKey) -> Self:
        """The view of a row, whose user is loaded."""
        columns = set(KeyView.model_fields) - {"user", "made_by", "replaces"}
        others = {"user": row.user.name, "made_by": row.made_by_id, "replaces": row.replaces_id}
        return cls(**{name: getattr(row, name) for name in columns}, **others)


class NewKeyView(KeyView):
    """A key that was just made."""

    key: str
    """The key itself. It is shown here and never again."""

    @classmethod
    def issued(cls, session: Session, issued: Issued) -> Self:
        """The view of a new key."""
        session.refresh(issued.row, ["created_at"])
        return cls(**KeyView.of(issued.row).model_dump(), key=issued.key)


class RevokedView(KeyView):
    """A key that was just revoked."""

    revoked_along: list[int]
    """The ids of the other keys that were revoked: those that it made, those that they made, and so on."""


class KeyPage(View):
    """A page of keys, the newest first."""

    keys: list[KeyView]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last one."""


class NewKey(BaseModel):
    """The key that is to be made."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"name": "notebook", "role": "viewer", "expires_in": 604800}]},
    )

    name: Label = ""
    """To distinguish it from other keys."""
    user: UserName | None = None
    """Its user; you by default, another user only for admins. A new name makes a new user."""
    role: Role | None = None
    """What it may do: not more than the caller's key; by default the same."""
    expires_at: Timestamp | None = None
    expires_in: Seconds | None = None
    """Seconds from now, in place of `expires_at`. Without either it is valid for as long as the caller's key."""

    def end(self, *, now: datetime, latest: datetime | None) -> datetime | None:
        """When it expires: not after `latest`, the end of the caller's key. Raises `SpecRejected`."""
        if self.expires_in is not None and self.expires_at is not None:
            raise _wrong("expires_in", "two_ends", "expires_in: give this or expires_at, not both")
        wanted = self.expires_at if self.expires_in is None else now + timedelta(seconds=self.expires_in)
        field = "expires_at" if self.expires_in is None else "expires_in"
        if wanted is not None and wanted <= now:
            raise _wrong(field, "in_the_past", f"{field}: expected a time in the future")
        if wanted is not None and latest is not None and wanted > latest:
            end = f"{latest.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            raise _wrong(
                field, "beyond_own_end", f"{field}: expected {end} at the latest, when the key that asks expires"
            )
        return latest if wanted is None else wanted


class Rotation(BaseModel):
    """How a key is to be replaced."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"overlap": 3600}]}
    )

    overlap: Overlap = 0
    """Seconds for which the old key stays valid."""


def visible_key(key_id: Annotated[int, Path(ge=1, le=EXACT)], key: Viewer, session: Session) -> ApiKey:
    """The key of this id. Raises `NotFound`, or `Gone` if it is revoked."""
    found = session.execute(queries.keys_visible_to(key).where(ApiKey.id == key_id)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"there is no key {key_id}, or it is not yours")
    if found.revoked_at is not None:
        raise Gone(f"key {key_id} was revoked at {found.revoked_at:%Y-%m-%d %H:%M:%S} UTC")
    return found


OwnedKey = Annotated[ApiKey, Depends(visible_key, scope="function")]
"""A key that the caller may see."""


def changeable_key(found: OwnedKey, key: Member, session: Session) -> ApiKey:
    """Such a key, if the caller's key may do as much and was not replaced, or is this key. Raises `Forbidden`."""
    _require_reach(key, found.role)
    if found.id != key.id and (successor := keys.replaced_by(session, key)):
        raise Forbidden(f"the key that asks was replaced by key {successor}, and may still end only itself")
    return found


ChangeableKey = Annotated[ApiKey, Depends(changeable_key, scope="function")]
"""A key that the caller may replace or revoke."""


@router.post("", status_code=201, responses=problems(BadRequest, Unauthorized, Forbidden, SpecRejected))
def create_key(wanted: NewKey, key: Member, session: Session, response: Response) -> NewKeyView:
    """Make a key for yourself; an admin may make one for any user. It is shown in this answer and never again.

    It may do no more than the caller's key, and expires no later.
    """
    user = key.user.name if wanted.user is None else wanted.user
    if user != key.user.name and key.role is not Role.ADMIN:
        raise Forbidden(f"only an admin makes keys for others, and this key is {key.user.name}'s")
    role = key.role if wanted.role is None else wanted.role
    _require_reach(key, role)
    keys.require_open(session, key)
    end = wanted.end(now=keys.now(session), latest=key.expires_at)
    issued = keys.issue(session, user=user, role=role, name=wanted.name, expires_at=end, made_by=key)
    response.headers["Location"] = f"{router.prefix}/{issued.row.id}"
    return NewKeyView.issued(session, issued)


@router.get("", responses=problems(BadRequest, Unauthorized))
def list_keys(
    key: Viewer,
    session: Session,
    cursor: Annotated[int | None, Query(ge=1, le=EXACT, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> KeyPage:
    """Your keys, the newest first, also those that are no longer valid; all users' keys for an admin."""
    wanted = queries.keys_visible_to(key).order_by(ApiKey.id.desc()).limit(limit + 1)
    wanted = wanted if cursor is None else wanted.where(ApiKey.id < cursor)
    page = session.execute(wanted).scalars().all()
    next_cursor = str(page[limit - 1].id) if len(page) > limit else None
    return KeyPage(keys=shown("list of keys", page[:limit], KeyView.of), next_cursor=next_cursor)


@router.get("/{key_id}", responses=problems(BadRequest, Unauthorized, NotFound, Gone))
def show_key(found: OwnedKey) -> KeyView:
    """One key, without its secret."""
    return KeyView.of(found)


@router.delete("/{key_id}", responses=problems(BadRequest, Unauthorized, Forbidden, NotFound, Gone))
def revoke_key(
    found: ChangeableKey,
    key: Member,
    session: Session,
    descendants: Annotated[  # noqa: FBT002
        bool, Query(description="Whether the keys that it made, and that these made, are revoked too.")
    ] = True,
) -> RevokedView:
    """Revoke a key. It becomes invalid within `HSU_KEY_CACHE`, and its streams end. It stays in the list.

    A key may have leaked: by default the keys that it made are revoked too, but not the caller's key and those it made.
    """
    along = keys.revoke(session, found, along=descendants, asked_by=key)
    database.after_commit(session, key_cache.clear)
    session.refresh(found, ["revoked_at"])
    return RevokedView(**KeyView.of(found).model_dump(), revoked_along=along)


@router.post(
    "/{key_id}/rotate",
    status_code=201,
    responses=problems(BadRequest, Unauthorized, Forbidden, NotFound, Gone, SpecRejected),
)
def rotate_key(
    found: ChangeableKey,
    key: Member,
    session: Session,
    response: Response,
    how: Rotation = Rotation(),  # noqa: B008
) -> NewKeyView:
    """Replace a key by a new one; the old one stays valid for `overlap` more, but may then change no other key.

    The new key has the lifetime of the old one, but expires no later than the caller's key.
    """
    keys.require_open(session, key)
    issued = keys.rotate(session, found, overlap=timedelta(seconds=how.overlap), asked_by=key)
    database.after_commit(session, key_cache.clear)
    response.headers["Location"] = f"{router.prefix}/{issued.row.id}"
    return NewKeyView.issued(session, issued)


def _require_reach(key: ApiKey, role: Role) -> None:
    if not key.role.covers(role):
        raise Forbidden(f"a {key.role}'s key neither makes, replaces nor revokes {_an(role)}'s")


def _an(role: Role) -> str:
    return f"an {role}" if role is Role.ADMIN else f"a {role}"


def _wrong(field: str, code: str, detail: str) -> SpecRejected:
    return SpecRejected(detail, faults=(Fault(pointer=f"/{field}", code=code, detail=detail),))
