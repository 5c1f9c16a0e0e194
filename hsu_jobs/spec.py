"""What may be submitted? A network to train or points to place, and what only a service needs to know of it.

Knows names, tags and limits. Knows nothing of who submits it or when it runs. A spec is parsed once, when it is
submitted (`parse`); what is stored may have been written by another version, and is read with `read` or `limits_of`.
An older spec is upgraded first, whether it comes from a client or from the database (`hsu_core/spec/versions.py`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, LiteralString, TypeVar, Union, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from hsu_core import costs
from hsu_core.costs import Costs
from hsu_core.spec import (
    ClassificationSpec,
    NodesSpec,
    PluginTask,
    PointsSpec,
    RecommendationSpec,
    Spec,
    TextsSpec,
    TrainingSpec,
    kinds,
    versions,
)
from hsu_core.spec import plugins as installed
from hsu_core.spec.task import TaskSpec
from hsu_core.spec.values import WHOLE, Seconds, at_most, fault
from hsu_core.spec.versions import PRESENT, UnknownVersion
from hsu_jobs import near_matches, unknown_kinds
from hsu_jobs.errors import SpecNotReadable
from hsu_jobs.names import PoolName

Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=64)]

_SPACE = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Characters of which alone no name may consist, written out: `\\s` differs between Python, Rust and JSON Schema."""
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern=rf"^[^\x00]*[^{_SPACE}][^\x00]*$", max_length=200)
]
Priority = Annotated[int, Field(ge=-100, le=100), WHOLE]
Version = Annotated[int, Field(ge=1, json_schema_extra={"maximum": PRESENT}), WHOLE]
"""A newer version never comes here: `_in_present_shape` refuses it, and says which versions are known."""


class Resources(Spec):
    """What a job needs of a machine."""

    gpus: Annotated[int, Field(ge=1, le=64), WHOLE] = 1
    """GPUs of one machine, or of its slots where it has no GPU. A training is spread over them, its batch split."""
    pool: PoolName = "default"
    """The workers that may run it."""


class Limits(Spec):
    """When to give up."""

    max_attempts: Annotated[int, Field(ge=1, le=100), WHOLE] = 5
    """Attempts in a row that may crash, hang or be lost without a further checkpoint, before the job fails."""
    deadline: Seconds | None = None
    """Seconds after the submission by which the job must have ended, or it fails."""
    stall: Seconds = 1800.0
    """Seconds without a further step after which an attempt counts as hanging and is ended."""


class Envelope(Spec):
    """The fields that every job has, whatever its task.

    No field here changes the result, except that sums over several GPUs are rounded differently.
    """

    version: Version = PRESENT
    """The version of the spec's shape. A spec without it has the present one. An older spec is upgraded when it is
    read, so what is shown is always in the present shape."""
    name: Name = "untitled"
    tags: Annotated[tuple[Tag, ...], Field(max_length=32), at_most(32)] = ()
    priority: Priority = 0
    """A higher priority runs first, and may send a running job of lower priority back to the queue."""
    resources: Resources = Resources()
    limits: Limits = Limits()

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema, in which `task` is required of all but the first of the menu."""
        found = handler(core)
        schema = handler.resolve_ref_schema(found)
        if schema["properties"].get("task", {}).get("const", TASKS[0]) != TASKS[0]:
            schema["required"] = ["task", *schema.get("required", ())]
        return found

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the fields of the task, in canonical JSON: equal for jobs that must give equal results.

        Of an own data set counts what it holds, and not how it is called.
        """
        left_out = dict.fromkeys(Envelope.model_fields, True) | {"dataset": {"name", "owner", "version"}}
        content = self.model_dump(mode="json", exclude=left_out)
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def costs(self) -> Costs | None:
        """What the job will cost; None if that is not known before it has run."""
        return None


class TrainingJob(TrainingSpec, Envelope):
    """A training run of any task, as users submit it."""

    @model_validator(mode="after")
    def _can_be_split(self) -> TrainingJob:
        if reason := self.indivisible(self.resources.gpus):
            raise fault("batch_size", "batch_not_divisible", reason)
        return self

    def costs(self) -> Costs:
        """What the training will cost."""
        return costs.estimate(self)


class ClassificationJob(ClassificationSpec, TrainingJob):
    """A classification of images, as users submit it."""


class NodesJob(NodesSpec, TrainingJob):
    """A classification of a graph's nodes, as users submit it."""


class TextsJob(TextsSpec, TrainingJob):
    """A classification of texts, as users submit it."""


class RecommendationJob(RecommendationSpec, TrainingJob):
    """A recommendation of items to users, as users submit it."""


class PointsJob(PointsSpec, Envelope):
    """Points to be placed on a sphere, as users submit it."""

    @model_validator(mode="after")
    def _needs_one(self) -> PointsJob:
        if self.resources.gpus > 1:
            raise fault("resources", "one_gpu_only", f"points are placed on one GPU, found {self.resources.gpus}")
        return self


MOST_OPTIONS = 1_000
"""Keys of a tracked run's configuration."""
LONGEST_CONFIG = 64 * 1024
"""Bytes of a tracked run's configuration, as JSON."""


def storable(tree: Any) -> Any:
    """A tree of plain values that Postgres can store. Raises ValueError."""
    text = json.dumps(tree, ensure_ascii=False)
    if "\\u0000" in text:
        raise _unstorable("no text in it may contain the character U+0000")
    size = len(text.encode(errors="surrogatepass"))
    if text != text.encode(errors="replace").decode():
        raise _unstorable("a text in it holds half of a surrogate pair, which is not a character")
    if size > LONGEST_CONFIG:
        raise _unstorable(f"as JSON it may have {LONGEST_CONFIG:,} bytes at most, found {size:,}")
    return tree


def _unstorable(message: str) -> PydanticCustomError:
    return PydanticCustomError("unstorable", "{message}", {"message": message})


OptionName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Config = Annotated[
    dict[OptionName, Any],
    Field(max_length=MOST_OPTIONS, json_schema_extra={"additionalProperties": False}),  # only keys of the pattern
    at_most(MOST_OPTIONS),
    AfterValidator(storable),
]


class TrackedJob(TaskSpec, Envelope):
    """A training loop that runs elsewhere, and whose run is kept here. No worker runs it."""

    task: Literal["tracked"] = "tracked"
    config: Config = Field(default={})
    """What the loop was called with, as its owner gave it."""

    @model_validator(mode="before")
    @classmethod
    def _says_so(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("task") != "tracked":
            raise ValueError("a tracked run's spec names its task")  # or any stored spec could be taken for one
        return value

    @property
    def total_steps(self) -> int:
        """Zero: only the loop knows how many steps it will take."""
        return 0


def _job_of(task: type[PluginTask]) -> type[TrainingJob]:
    """A training of a plug-in's task, as users submit it."""
    about = {"__doc__": task.__doc__, "__module__": task.__module__}
    return type(f"{task.__name__}Job", (task, TrainingJob), about)


_BuiltInJob = ClassificationJob | NodesJob | TextsJob | RecommendationJob | PointsJob
if TYPE_CHECKING:
    AnyJob = _BuiltInJob
else:
    AnyJob = Union[(*get_args(_BuiltInJob), *installed.derived(installed.TASKS, _job_of))]
"""The menu of tasks; the first one is the default where a spec names none."""
TASKS = kinds(AnyJob, tag="task")


def _in_present_shape(value: object) -> object:
    """A spec of the present version, which names its task: without one it is `classification`."""
    if not isinstance(value, Mapping):
        return value
    try:
        tree = versions.upgraded(value, unmarked=versions.PRESENT)
    except UnknownVersion as error:
        raise fault("version", "unknown_version", str(error)) from error
    named: dict[Any, Any] = {"task": TASKS[0], **tree}
    if named["task"] not in TASKS:
        raise fault("task", "unknown_task", near_matches.refusal("task", named["task"], TASKS))
    return named


JobSpec = Annotated[AnyJob, Discriminator("task"), BeforeValidator(_in_present_shape)]
_JOB_SPEC: TypeAdapter[AnyJob] = TypeAdapter(JobSpec)
_TRACKED: TypeAdapter[TrackedJob] = TypeAdapter(TrackedJob)
_Read = TypeVar("_Read")


def parse(value: object) -> JobSpec:
    """The job that a tree of plain values asks for. Raises pydantic's `ValidationError`."""
    return _JOB_SPEC.validate_python(value)


MOST_AT_ONCE = 1000
"""Jobs that are submitted together."""
ENOUGH_ERRORS = 1000
"""The check of many specs stops after so many errors: each error costs some microseconds."""
ENOUGH_SECONDS = 0.5
"""And after so many seconds of a core with an error: deep networks with many patterns of layers cost more."""
MOST_SECONDS = 3.0
"""Seconds of a core after which the check of many specs stops without an error."""


def _until_enough(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
    """Many specs, checked one after the other."""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_AT_ONCE:
        return handler(value)
    specs: list[JobSpec] = []
    errors: list[InitErrorDetails] = []
    began = time.thread_time()
    for place, each in enumerate(value):
        limit = ENOUGH_SECONDS if errors else MOST_SECONDS
        if len(errors) >= ENOUGH_ERRORS or time.thread_time() - began > limit:
            errors.append(_not_looked_at(place))
            break
        try:
            specs.append(_JOB_SPEC.validate_python(each, from_attributes=True))  # as FastAPI does with one spec
        except ValidationError as error:
            errors += _within(place, error)
    if errors:
        raise ValidationError.from_exception_data("Specs", errors)
    return specs


def _within(place: int, error: ValidationError) -> Iterator[InitErrorDetails]:
    """The errors of the spec at this place of a list."""
    for each in error.errors(include_url=False):
        said = unknown_kinds.advice(each)
        own = said or "message" in each.get("ctx", {})  # says what was found; pydantic's own errors do not say it yet
        text: LiteralString = "{message}" if own else "{text}"
        kind = PydanticCustomError(each["type"], text, {text[1:-1]: said or each["msg"]})
        yield InitErrorDetails(type=kind, loc=(place, *each["loc"]), input=each["input"])


def _not_looked_at(place: int) -> InitErrorDetails:
    text = "the specs before have too many errors, or take too long to check: send this and the following ones apart"
    return InitErrorDetails(type=PydanticCustomError("not_looked_at", text), loc=(place,), input=None)


Specs = Annotated[list[JobSpec], Field(min_length=1, max_length=MOST_AT_ONCE), WrapValidator(_until_enough)]
"""Specs of jobs that are submitted together."""


_SPECS: TypeAdapter[list[AnyJob]] = TypeAdapter(Specs)


def parse_all(values: object) -> list[AnyJob]:
    """The jobs that trees of plain values ask for. Raises pydantic's `ValidationError`."""
    return _SPECS.validate_python(values)


def read(stored: object, *, plugins: Sequence[str] = ()) -> JobSpec:
    """The spec that is stored with a job for a worker, in the present shape.

    `plugins`: those that the job needs. Raises `SpecNotReadable` if this version cannot read it: a newer one wrote it,
    or a plug-in is gone.
    """
    return _read(stored, _JOB_SPEC, plugins)


def read_any(stored: object, *, plugins: Sequence[str] = ()) -> JobSpec | TrackedJob:
    """The spec of any job, also of a tracked run. Raises `SpecNotReadable`."""
    return _read(stored, _TRACKED, plugins) if is_tracked(stored) else read(stored, plugins=plugins)


def is_tracked(stored: object) -> bool:
    """Whether a stored spec is that of a tracked run."""
    return isinstance(stored, Mapping) and stored.get("task") == "tracked"


def _read(stored: object, kind: TypeAdapter[_Read], plugins: Sequence[str]) -> _Read:
    tree = in_present_shape(stored)
    try:
        return kind.validate_python(tree)
    except ValidationError as error:
        if gone := sorted(set(plugins) - set(installed.distributions())):
            raise _not_readable(f"the plug-in {', '.join(gone)} is not installed here") from error
        first, more = error.errors(include_url=False)[0], error.error_count() - 1
        where = "/".join(map(str, first["loc"])) or "the spec"
        others = f" (and {more} more)" if more else ""
        raise _not_readable(f"{where}: {unknown_kinds.advice(first) or first['msg']}{others}") from error
    except Exception as error:  # a validator failed on a value that no client can send
        raise _not_readable(f"{type(error).__name__}: {error}") from error


def in_present_shape(stored: object) -> Any:
    """The tree that is stored with a job, upgraded to the present version. Raises `SpecNotReadable`."""
    if not isinstance(stored, Mapping):
        return stored
    try:
        return versions.upgraded(stored)
    except UnknownVersion as error:
        raise _not_readable(f"version: {error}") from error


def _not_readable(reason: str) -> SpecNotReadable:
    detail = f"this version of the service cannot read the stored spec: {reason}"
    return SpecNotReadable(detail[:_LONGEST_REASON])


_LONGEST_REASON = 500
"""Characters of the reason why a spec cannot be read: it may quote what is in it."""


def is_readable(stored: object) -> bool:
    """Whether this version can read a stored spec."""
    try:
        read(stored)
    except SpecNotReadable:
        return False
    return True


def limits_of(stored: object) -> Limits:
    """The limits of a stored spec; the default ones if this version cannot read them."""
    try:
        tree = in_present_shape(stored)
    except SpecNotReadable:
        tree = stored  # a newer version may have left the limits where they are
    limits = tree.get("limits", {}) if isinstance(tree, Mapping) else {}
    try:
        return Limits.model_validate(limits)
    except ValidationError:
        return Limits()
