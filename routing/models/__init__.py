from routing.models.batch import (
    Batch,
    BatchFile,
    BatchFileChunk,
    BatchLine,
    BatchRunner,
    NativeBatch,
)
from routing.models.catalog import Endpoint, EndpointStats, Model, Price, Provider
from routing.models.credential import Credential
from routing.models.form import FormCell
from routing.models.idempotent_call import IdempotentCall
from routing.models.limit import Limit, LimitPool
from routing.models.policy import Policy, PolicyVersion
from routing.models.probe import ProbeDay
from routing.models.sighting import Sighting
from routing.models.stored_response import StoredResponse
from routing.models.team import AccessToken, ApiKey, Membership, Organization, Project
from routing.models.version import SnapshotVersion

__all__ = [
    "AccessToken",
    "ApiKey",
    "Batch",
    "BatchFile",
    "BatchFileChunk",
    "BatchLine",
    "BatchRunner",
    "Credential",
    "Endpoint",
    "EndpointStats",
    "FormCell",
    "IdempotentCall",
    "Limit",
    "LimitPool",
    "Membership",
    "Model",
    "NativeBatch",
    "Organization",
    "Policy",
    "PolicyVersion",
    "Price",
    "ProbeDay",
    "Project",
    "Provider",
    "Sighting",
    "SnapshotVersion",
    "StoredResponse",
]
