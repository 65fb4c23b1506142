"""One's own machines: provider `local`."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from cnnbench.cluster_check.launcher_file import Document, Finding, Place

KEYS = {"type", "head_ip", "worker_ips", "external_head_ip", "coordinator_address", "use_internal_ips"}
LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")


def unknown_keys(document: Document) -> Iterator[Finding]:
    if document.provider == "local":
        for key in document.mapping("provider"):
            if key not in KEYS:
                remedy = f"provider local knows {', '.join(sorted(KEYS))}"
                yield document.finding(("provider", str(key)), "unknown key, which Ray would ignore", remedy)


def addresses(document: Document) -> Iterator[Finding]:
    """Addresses that are none, or that stand twice."""
    provider = document.mapping("provider")
    if document.provider != "local" or "coordinator_address" in provider:
        return
    workers = provider.get("worker_ips")
    places: list[tuple[Place, object]] = [(("provider", "head_ip"), provider.get("head_ip"))]
    places += [(("provider", "worker_ips", n), ip) for n, ip in enumerate(workers if isinstance(workers, list) else [])]
    if not isinstance(workers, list):
        yield document.finding(("provider",), "no worker_ips", "list the workers' addresses")
    seen = set()
    for place, address in places:
        if address is None:
            yield document.finding(place, "missing", "give the head's address")
        elif not is_address(str(address)):
            yield document.finding(place, f"{address!r} is neither an IP address nor a host name", "give one of these")
        elif address in seen:
            yield document.finding(place, f"{address} stands twice", "give each machine once, the head not as a worker")
        seen.add(address)


def is_address(text: str) -> bool:
    """An IP address, or what a host may be called; what looks like a number is not taken for a name."""
    try:
        ip_address(text)
    except ValueError:
        return HOST_NAME.fullmatch(text) is not None and not re.fullmatch(r"[0-9.]+", text)
    return True
