"""The machine's power as its management controller tells it over Redfish (DMTF DSP0266, DSP0268).

``/redfish/v1/Chassis`` lists chassis; each has ``EnvironmentMetrics`` (``PowerWatts.Reading``, since 2020) or the older
``Power`` (``PowerControl[].PowerConsumedWatts``). A chassis inside another one (``Links.ContainedBy``) is part of it
and not added. httpx is loaded only where a controller is configured: it is the extra ``evenwatt[bmc]``.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent.sources import bmc
from evenwatt_agent.sources.model import Found, Problem, ReadError
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    import httpx

    from evenwatt_agent.settings import MeterSettings

_TIMEOUT_S: Final = 5.0
_CHASSIS: Final = "/redfish/v1/Chassis"
_MAX_CHASSIS: Final = 32


class Controller:
    """One management controller.

    Raises:
        Failure: the settings cannot be used.
    """

    def __init__(self, settings: MeterSettings) -> None:
        try:
            import httpx  # noqa: PLC0415  (10 MB that a machine without a controller does without)
        except ImportError:
            raise Failure("sources.meter.redfish_url needs httpx: pip install 'evenwatt[bmc]'") from None
        verify: bool | str = (settings.redfish_ca or True) if settings.redfish_verify else False
        auth = (settings.redfish_user, _password(settings)) if settings.redfish_password_file else None
        self._errors = (httpx.HTTPError, httpx.InvalidURL)
        self._url = (settings.redfish_url or "").rstrip("/")
        self._client: httpx.Client = httpx.Client(auth=auth, verify=verify, timeout=_TIMEOUT_S, follow_redirects=False)
        self._meters: list[tuple[str, tuple[str, ...]]] | None = None

    def power_w(self) -> float:
        """Ask once.

        Raises:
            ReadError: naming the address, what was found and what was expected.
        """
        if self._meters is None:
            self._meters = self._find()
        return sum(watts(self._get(path), keys, self._url + path) for path, keys in self._meters)

    def _find(self) -> list[tuple[str, tuple[str, ...]]]:
        meters = []
        listed = self._get(_CHASSIS).get("Members")
        paths = [m.get("@odata.id") for m in listed if isinstance(m, dict)] if isinstance(listed, list) else []
        for path in paths[:_MAX_CHASSIS]:
            chassis = self._get(str(path))
            if is_contained(chassis):
                continue
            meters += [meter for meter in meters_of(chassis) if self._answers(meter)][:1]
        if not meters:
            raise ReadError(f"{self._url}{_CHASSIS}: no chassis with PowerWatts or PowerConsumedWatts")
        return meters

    def _answers(self, meter: tuple[str, tuple[str, ...]]) -> bool:
        path, keys = meter
        try:
            watts(self._get(path), keys, path)
        except ReadError:
            return False
        return True

    def _get(self, path: str) -> dict[str, Any]:
        where = self._url + path
        try:
            answer = self._client.get(where)
            if answer.status_code in (401, 403):
                raise ReadError(f"{where}: login refused ({answer.status_code}); check redfish_user and its password")
            document = answer.raise_for_status().json()
        except self._errors as error:
            raise ReadError(f"{where}: {error or type(error).__name__}") from None
        except ValueError:
            raise ReadError(f"{where}: not JSON; is this a Redfish service?") from None
        if not isinstance(document, dict):
            raise ReadError(f"{where}: found {type(document).__name__}, expected a JSON object")
        return document


def discover(settings: MeterSettings) -> Found:
    """Ask the controller that is configured; it stays configured when it does not answer at the start.

    Raises:
        Failure: the settings cannot be used.
    """
    if settings.redfish_url is None:
        return Found()
    poller = bmc.Poller(Controller(settings).power_w, settings.period_s, "redfish")
    poller.start()
    problems = [Problem("redfish", settings.redfish_url, poller.trouble, _FIX)] if poller.trouble else []
    return Found([bmc.probe_of(poller, "bmc", "redfish")], problems)


_FIX: Final = "check sources.meter in the settings: address, login, and redfish_ca for a certificate of its own"


def is_contained(chassis: dict[str, Any]) -> bool:
    """Whether the chassis is part of another one, which has its power too."""
    links = chassis.get("Links")
    return isinstance(links, dict) and isinstance(links.get("ContainedBy"), dict)


def meters_of(chassis: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Return where a chassis may tell its power, the newer schema first: path, and the keys that lead to watts."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for resource, keys in _METERS:
        link = chassis.get(resource)
        if isinstance(link, dict) and isinstance(link.get("@odata.id"), str):
            found.append((link["@odata.id"], keys))
    return found


_METERS: Final = (
    ("EnvironmentMetrics", ("PowerWatts", "Reading")),
    ("Power", ("PowerControl", "0", "PowerConsumedWatts")),
)


def watts(document: Any, keys: tuple[str, ...], where: str) -> float:
    """Follow ``keys`` (numbers index a list) to a power in watts.

    Raises:
        ReadError: there is no such number, or it is not a possible one.
    """
    value = document
    for key in keys:
        if isinstance(value, list):
            value = value[int(key)] if key.isdigit() and int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= bmc.MAX_POWER_W:
        raise ReadError(f"{where}: {'.'.join(keys)} is {value!r}, expected watts up to {bmc.MAX_POWER_W:.0f}")
    return float(value)


def _password(settings: MeterSettings) -> str:
    path = Path(settings.redfish_password_file or "")
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path}: {error}; sources.meter.redfish_password_file must name a readable file") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Failure(f"{path}: other users may read this password; run: chmod 600 {path}")
    return text.strip()
