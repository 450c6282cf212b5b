"""What node and collector say to each other over MQTT: the public interface of evenwatt.

The package is pure: bytes in, typed messages out, and back. It opens no socket, reads no clock and imports nothing
else of evenwatt, so that any program may use it to speak with a fleet.

``topics``    where each message goes, and how to read a topic back.
``messages``  every payload as a frozen, validated struct with units in its field names.
``codec``     bytes <-> messages, with the limits that protect a daemon from what it receives.
``command``   the signed envelope around everything that changes a machine's power.
``keyring``   whose public keys count, for what, until when.
``trust``     the root's signed word on them; ``trust_keeper`` holds the newest.
``jobs``      work that is run on command, and how it went.
"""

from evenwatt_wire.codec import MAX_COMMAND_BYTES, MAX_PAYLOAD_BYTES, WireError, decode, encode
from evenwatt_wire.command import Ack, Command, open_envelope, seal
from evenwatt_wire.jobs import JobOrder, RunReport, RunState, Submission
from evenwatt_wire.keyring import CommandError, Key, KeyRing, Role
from evenwatt_wire.messages import (
    Actuator,
    Birth,
    ControllerState,
    Deployment,
    Deployments,
    Domain,
    DomainEnergy,
    DomainWindow,
    Event,
    Gap,
    JobLine,
    JobList,
    LeaseInForce,
    Ledger,
    Live,
    NodeSummary,
    PartEnergy,
    Quality,
    State,
    Stored,
    TaskEnergy,
    Template,
    WorkloadRate,
    WorkPower,
    ZoneSummary,
)
from evenwatt_wire.topics import Kind, Topic, TopicError
from evenwatt_wire.trust import Revocation, Trust, TrustError, open_trust, sign_trust, write_trust
from evenwatt_wire.trust_keeper import Offer, TrustKeeper, Verdict

__all__ = [
    "MAX_COMMAND_BYTES",
    "MAX_PAYLOAD_BYTES",
    "Ack",
    "Actuator",
    "Birth",
    "Command",
    "CommandError",
    "ControllerState",
    "Deployment",
    "Deployments",
    "Domain",
    "DomainEnergy",
    "DomainWindow",
    "Event",
    "Gap",
    "JobLine",
    "JobList",
    "JobOrder",
    "Key",
    "KeyRing",
    "Kind",
    "LeaseInForce",
    "Ledger",
    "Live",
    "NodeSummary",
    "Offer",
    "PartEnergy",
    "Quality",
    "Revocation",
    "Role",
    "RunReport",
    "RunState",
    "State",
    "Stored",
    "Submission",
    "TaskEnergy",
    "Template",
    "Topic",
    "TopicError",
    "Trust",
    "TrustError",
    "TrustKeeper",
    "Verdict",
    "WireError",
    "WorkPower",
    "WorkloadRate",
    "ZoneSummary",
    "decode",
    "encode",
    "open_envelope",
    "open_trust",
    "seal",
    "sign_trust",
    "write_trust",
]
