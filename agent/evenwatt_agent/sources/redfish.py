"""The machine's power as its management controller tells it over Redfish (DMTF DSP0266, DSP0268).

``/redfish/v1/Chassis`` lists chassis; each has ``EnvironmentMetrics`` (``PowerWatts.Reading``, since 2020) or the older
``Power`` (``PowerControl[].PowerConsumedWatts``). A chassis inside another one (``Links.ContainedBy``) is part of it
and not added. The sum is of all or nothing: while one of its terms does not answer there is no reading, since a part of
it would look like a machine that draws less. httpx is loaded only where a controller is configured: it is the extra
``evenwatt[bmc]``.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from evenwatt_agent.sources import bmc
from evenwatt_agent.sources.model import Found, Problem, ReadError
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from evenwatt_agent.settings import MeterSettings

_TIMEOUT_S: Final = 5.0
"""Of a connection and of each silence within an answer; an answer as a whole gets ``_ANSWER_S``."""
_ANSWER_S: Final = 15.0
_MAX_BYTES: Final = 1 << 20
"""The longest answers, of lists with hundreds of members, have some tens of kilobytes."""
_MAX_CHASSIS: Final = 256
"""Machines with eight GPU boards list about sixty, one for each board, switch and root of trust."""
_MAX_PAGES: Final = 32
_LOOK_AGAIN_S: Final = 3_600.0
"""A controller that has just started says null for a while; what it then left out is found by looking again."""
_PLAIN: Final = re.compile(r"[!-~]{1,1000}")
"""A path without spaces, controls and letters that would have to be escaped."""
_CHASSIS: Final = "/redfish/v1/Chassis"
_NOT_THERE: Final = frozenset({404, 405, 410, 501})
_FIX: Final = "check sources.meter in the settings: address, login, and redfish_ca for a certificate of its own"


class NoMeterError(ReadError):
    """This resource has no power reading, which is no fault: another one may."""


class Meter(NamedTuple):
    """Where one chassis tells its power, and how to read it."""

    path: str
    watts: Callable[[dict[str, Any], str], float]


class Controller:
    """One management controller.

    Args:
        settings: With ``redfish_url`` set.
        clock: Seconds that never go back.

    Raises:
        Failure: the settings cannot be used.
    """

    def __init__(self, settings: MeterSettings, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            import httpx  # noqa: PLC0415  (10 MB that a machine without a controller does without)
        except ImportError:
            raise Failure("sources.meter.redfish_url needs httpx: pip install 'evenwatt[bmc]'") from None
        self._url = bmc.address(settings)
        self._errors = (httpx.HTTPError, httpx.InvalidURL)
        self._client: httpx.Client = httpx.Client(
            auth=bmc.login(settings),
            verify=bmc.trust(settings),
            timeout=_TIMEOUT_S,
            follow_redirects=False,  # the login is for this address
            trust_env=False,  # nor is it for a proxy's ears
        )
        self._clock = clock
        self._meters: list[Meter] = []
        self._look_at_s = clock()

    def power_w(self) -> float:
        """Ask once.

        Raises:
            ReadError: naming the address, what was found and what was expected.
        """
        if self._clock() >= self._look_at_s:
            self._meters = self._find()
            self._look_at_s = self._clock() + _LOOK_AGAIN_S
        return sum(self._ask(meter) for meter in self._meters)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _ask(self, meter: Meter) -> float:
        return meter.watts(self._get(meter.path), self._url + meter.path)

    def _find(self) -> list[Meter]:
        meters, without = [], ""
        for path in self._members():
            try:
                chassis = self._get(path)
                if not is_contained(chassis):
                    meters.append(self._choose(meters_of(chassis, self._url + path), self._url + path))
            except NoMeterError as error:
                without = without or str(error)
        if not meters:
            raise ReadError(without or f"{self._url}{_CHASSIS}: no chassis, expected one with PowerWatts")
        return meters

    def _choose(self, meters: list[Meter], where: str) -> Meter:
        """Return the first that answers; one that fails is a fault only if no other tells the same power."""
        worst: ReadError = NoMeterError(f"{where}: no chassis with PowerWatts or PowerConsumedWatts")
        for meter in meters:
            try:
                self._ask(meter)
            except ReadError as error:
                worst = error if isinstance(worst, NoMeterError) else worst
            else:
                return meter
        raise worst

    def _members(self) -> list[str]:
        paths: list[str] = []
        page: str | None = _CHASSIS
        for _ in range(_MAX_PAGES):
            if page is None:
                return paths
            more, page = members_of(self._get(page), self._url + page)
            paths += more
            if len(paths) > _MAX_CHASSIS:
                break
        raise ReadError(f"{self._url}{_CHASSIS}: over {_MAX_CHASSIS} chassis, or pages without end")

    def _get(self, path: str) -> dict[str, Any]:
        where = self._url + path
        body = bytearray()
        late_s = time.monotonic() + _ANSWER_S
        try:
            with self._client.stream("GET", where) as answer:
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _MAX_BYTES or time.monotonic() > late_s:
                        raise ReadError(f"{where}: {len(body)} bytes and no end of it")
        except self._errors as error:
            raise ReadError(f"{where}: {str(error) or type(error).__name__}") from None
        return document(answer.status_code, bytes(body), where)


def discover(settings: MeterSettings) -> Found:
    """Ask the controller that is configured; it stays configured when it does not answer at the start.

    Raises:
        Failure: the settings cannot be used.
    """
    if settings.redfish_url is None:
        return Found()
    controller = Controller(settings)
    poller = bmc.Poller(controller.power_w, settings.period_s, "redfish", controller.close)
    poller.start(_TIMEOUT_S)
    problems = [Problem("redfish", settings.redfish_url, poller.trouble, _FIX)] if poller.trouble else []
    return Found([bmc.probe_of(poller, "bmc", "redfish")], problems)


def document(status: int, body: bytes, where: str) -> dict[str, Any]:
    """Return what an answer holds.

    Raises:
        NoMeterError: there is no such resource.
        ReadError: any other answer than a JSON object.
    """
    if status in _NOT_THERE:
        raise NoMeterError(f"{where}: not there ({status})")
    if status in {401, 403}:
        raise ReadError(f"{where}: login refused ({status}); check redfish_user and its password")
    if status != 200:
        raise ReadError(f"{where}: answered {status}, expected 200")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ReadError(f"{where}: not JSON; is this a Redfish service?") from None
    if not isinstance(found, dict):
        raise ReadError(f"{where}: found {type(found).__name__}, expected a JSON object")
    return found


def members_of(collection: dict[str, Any], where: str) -> tuple[list[str], str | None]:
    """Return the paths of a collection's members and of its next page (DSP0266, "Resource collection responses").

    Raises:
        ReadError: it is not such a list.
    """
    members = collection.get("Members")
    if not isinstance(members, list):
        raise ReadError(f"{where}: Members is {_short(members)}, expected a list")
    more = collection.get("Members@odata.nextLink")
    return [_path(member, where) for member in members], None if more is None else _path({"@odata.id": more}, where)


def is_contained(chassis: dict[str, Any]) -> bool:
    """Whether the chassis is part of another one, which has its power too."""
    links = chassis.get("Links")
    return isinstance(links, dict) and isinstance(links.get("ContainedBy"), dict)


def meters_of(chassis: dict[str, Any], where: str) -> list[Meter]:
    """Return where a chassis may tell its power, the newer schema first.

    Raises:
        ReadError: a link that leads nowhere.
    """
    readers = {"EnvironmentMetrics": environment_w, "Power": consumed_w}
    return [Meter(_path(chassis[name], where), read) for name, read in readers.items() if chassis.get(name) is not None]


def environment_w(resource: dict[str, Any], where: str) -> float:
    """Return ``PowerWatts.Reading`` of an EnvironmentMetrics resource.

    Raises:
        NoMeterError: it has none, or says null or 0.
        ReadError: it says what cannot be.
    """
    excerpt = resource.get("PowerWatts")
    return _watts(excerpt.get("Reading") if isinstance(excerpt, dict) else excerpt, f"{where}: PowerWatts.Reading")


def consumed_w(resource: dict[str, Any], where: str) -> float:
    """Return ``PowerConsumedWatts`` of a Power resource's member 0: the chassis; further ones are parts of it.

    Raises:
        NoMeterError: it has none, or says null or 0.
        ReadError: it says what cannot be.
    """
    controls = resource.get("PowerControl")
    entries = [entry for entry in controls if isinstance(entry, dict)] if isinstance(controls, list) else []
    first = entries[0] if entries else {}
    chosen = next((entry for entry in entries if entry.get("MemberId") == "0"), first)
    return _watts(chosen.get("PowerConsumedWatts"), f"{where}: PowerControl[0].PowerConsumedWatts")


def _watts(value: object, where: str) -> float:
    wrong = f"{where} is {_short(value)}, expected watts above 0 and up to {bmc.MAX_POWER_W:.0f}"
    if value is None or (value == 0 and not isinstance(value, bool)):
        raise NoMeterError(wrong)  # how controllers tell of a chassis without a sensor
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= bmc.MAX_POWER_W:
        raise ReadError(wrong)
    return float(value)


def _path(link: object, where: str) -> str:
    """Return a link's path; anything but a path of this service would take the login to another address."""
    path = link.get("@odata.id") if isinstance(link, dict) else link
    if not isinstance(path, str) or not path.startswith("/redfish/") or not _PLAIN.fullmatch(path):
        raise ReadError(f"{where}: links to {_short(path)}, expected a path below /redfish/")
    return path


def _short(value: object) -> str:
    return repr(value)[:100]
