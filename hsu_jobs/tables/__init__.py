"""What is kept: the rows of Postgres.

Knows columns, keys and indexes. Holds no behaviour; questions are in `queries`, moves in `lifecycle`.
"""

from hsu_jobs.tables.answers import Answer
from hsu_jobs.tables.audit import AuditRow
from hsu_jobs.tables.base import Row
from hsu_jobs.tables.cluster import Duty, Worker
from hsu_jobs.tables.curves import Block, SeriesRow
from hsu_jobs.tables.datasets import DatasetPart, DatasetRow, DatasetState
from hsu_jobs.tables.failures import RowFailure
from hsu_jobs.tables.installation import Installation
from hsu_jobs.tables.jobs import MOST_ATTEMPTS, Attempt, EventRow, Job
from hsu_jobs.tables.kept import AnswersRow, CheckpointRow, FileState, LogChunk, SavedFile, SavedFilePart
from hsu_jobs.tables.people import ApiKey, Role, User
from hsu_jobs.tables.studies import CellRow, MemberRow, Origin, SearchRow, StudyRow
from hsu_jobs.tables.webhooks import Delivery, DeliveryState, Webhook

__all__ = [
    "MOST_ATTEMPTS",
    "Answer",
    "AnswersRow",
    "ApiKey",
    "Attempt",
    "AuditRow",
    "Block",
    "CellRow",
    "CheckpointRow",
    "DatasetPart",
    "DatasetRow",
    "DatasetState",
    "Delivery",
    "DeliveryState",
    "Duty",
    "EventRow",
    "FileState",
    "Installation",
    "Job",
    "LogChunk",
    "MemberRow",
    "Origin",
    "Role",
    "Row",
    "RowFailure",
    "SavedFile",
    "SavedFilePart",
    "SearchRow",
    "SeriesRow",
    "StudyRow",
    "User",
    "Webhook",
    "Worker",
]
