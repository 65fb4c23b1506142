"""Machines of a cloud: provider `aws`. What is left out, Ray fills in: an image that is too old, a security group that
lets the world reach SSH, full rights on EC2 and S3 for the head."""

from collections.abc import Iterator
from typing import Any

from cnnbench.cluster_check.launcher_file import Document, Finding, Place

KEYS = {"type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips", "key_pair", "security_group",
        "aws_credentials", "cloudwatch"}  # fmt: skip
WANTED = {
    "ImageId": ("the image is not pinned, and Ray's own is too old", "name an ami-… with Python 3.11"),
    "IamInstanceProfile": ("Ray would give it full rights on EC2 and S3", "name a profile of your own"),
}
EVERYONE = {"0.0.0.0/0", "::/0"}
PORTS = {8265: "Ray's dashboard", 6379: "Ray's GCS", 10001: "Ray clients", 5000: "MLflow", 52365: "Ray's agent"}


def unknown_keys(document: Document) -> Iterator[Finding]:
    if document.provider == "aws":
        for key in document.mapping("provider"):
            if key not in KEYS:
                remedy = f"provider aws knows {', '.join(sorted(KEYS))}"
                yield document.finding(("provider", str(key)), "unknown key, which Ray would ignore", remedy)


def _types(document: Document) -> Iterator[tuple[str, Place, dict[str, Any]]]:
    """Name, place and node_config of each node type; nothing for other providers."""
    if document.provider == "aws":
        for name in document.mapping("available_node_types"):
            place = ("available_node_types", name, "node_config")
            yield name, place, document.mapping(*place)


def node_types(document: Document) -> Iterator[Finding]:
    """What every machine of the account must have."""
    for _, place, config in _types(document):
        for key, (problem, remedy) in WANTED.items():
            if not config.get(key):
                yield document.finding(place, f"no {key}: {problem}", remedy)
        own_group = document.mapping("provider", "security_group")
        if not own_group and not (config.get("SecurityGroupIds") or config.get("NetworkInterfaces")):
            problem = "no SecurityGroupIds: Ray's own group lets the whole world reach SSH"
            yield document.finding(place, problem, "name a group of your own, with SSH from your own address")
        options = config.get("MetadataOptions")
        if not isinstance(options, dict) or options.get("HttpTokens") != "required":
            problem = "IMDSv2 is not required: any program on it can ask for the machine's rights"
            remedy = "write MetadataOptions: {HttpTokens: required, HttpPutResponseHopLimit: 1}"
            yield document.finding((*place, "MetadataOptions"), problem, remedy)


def pools(document: Document) -> Iterator[Finding]:
    """The head steers and does not train; the pools come and go, and are of one kind."""
    if document.provider != "aws":
        return
    head = document.get("head_node_type")
    if document.get("max_workers") is None:
        yield document.finding(
            (), "no max_workers", "give the most workers of all pools, the limit of what it can cost"
        )
    kinds: dict[Any, str] = {}
    for name, place, config in _types(document):
        above = place[:-1]
        node = document.mapping(*above)
        if name == head:
            if document.get(*above, "resources", "CPU") != 0:
                yield document.finding((*above, "resources"), "trials would run on the head", "write {CPU: 0}")
            if "InstanceMarketOptions" in config:
                problem = "the head is a spot instance, and the cluster ends when it is taken away"
                yield document.finding((*place, "InstanceMarketOptions"), problem, "delete that")
            continue
        if node.get("min_workers", 0) != 0:
            problem = f"min_workers {node['min_workers']}: they cost money while nothing runs"
            yield document.finding((*above, "min_workers"), problem, "write 0: they start with the work")
        if "max_workers" not in node:
            yield document.finding(above, "no max_workers", "give the most machines of this pool")
        kinds.setdefault(config.get("InstanceType"), name)
        if len(kinds) > 1 and config.get("InstanceType") != next(iter(kinds)):
            problem = f"{config.get('InstanceType')}, but {next(iter(kinds.values()))} has {next(iter(kinds))}"
            yield document.finding((*place, "InstanceType"), problem, "one type: training times are compared")


def security_groups(document: Document) -> Iterator[Finding]:
    """Rules of a group that Ray makes: nothing from anywhere, and nothing but SSH from outside."""
    rules = document.get("provider", "security_group", "IpPermissions")
    if document.provider == "aws" and document.mapping("provider", "security_group") and not rules:
        place: Place = ("provider", "security_group")
        problem = "no IpPermissions: Ray lets the whole world reach SSH"
        yield document.finding(place, problem, "allow port 22 from your own address")
    for number, rule in enumerate(rules if isinstance(rules, list) else []):
        place = ("provider", "security_group", "IpPermissions", number)
        if not isinstance(rule, dict):
            continue
        ranges = [r for key in ("IpRanges", "Ipv6Ranges") for r in rule.get(key) or [] if isinstance(r, dict)]
        sources = {source for r in ranges for source in (r.get("CidrIp"), r.get("CidrIpv6")) if source}
        for source in sorted(sources & EVERYONE):
            ports = f"ports {rule.get('FromPort', 'all')} to {rule.get('ToPort', 'all')}"
            yield document.finding(place, f"{ports} are open to everyone ({source})", "allow your own address alone")
        low, high = rule.get("FromPort", 0), rule.get("ToPort", 65535)
        opened = [f"{port} ({what})" for port, what in PORTS.items() if sources and low <= port <= high]
        if opened:
            remedy = "open port 22 alone; the rest goes through an SSH tunnel (ray attach -p, ray dashboard)"
            yield document.finding(place, f"open to other networks: {', '.join(opened)}", remedy)
