"""`cnnbench cluster check`: what is wrong, unsafe, dear or unrepeatable in a file for Ray's cluster launcher.

Ray's own schema is asked first; it lets through unknown provider keys, addresses that are none, mounts of nothing,
a dashboard open to the world. No Ray is imported, and nothing but the file and what it mounts is looked at.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from cnnbench.cluster_check import aws, commands, local, mounts, schema, versions
from cnnbench.cluster_check.launcher_file import Document, Finding, UnreadableError, read

__all__ = ["Finding", "check"]

RULES: tuple[Callable[[Document], Iterator[Finding]], ...] = (
    schema.placeholders,
    schema.rays_own,
    local.unknown_keys,
    local.addresses,
    aws.unknown_keys,
    aws.node_types,
    aws.pools,
    aws.security_groups,
    mounts.sources,
    mounts.token,
    mounts.private_key,
    commands.start_commands,
    commands.open_hosts,
    commands.import_check,
    versions.pip_installs,
    versions.images,
    versions.ray_versions,
    versions.pythons,
)


def check(path: Path) -> list[Finding]:
    """Every finding in the launcher file at ``path``, by line; sources of mounts are looked for where `ray up` would:
    in the current folder."""
    try:
        document = read(path)
    except UnreadableError as error:
        return [error.finding]
    found = {finding for rule in RULES for finding in rule(document)}
    return sorted(found, key=lambda finding: (finding.line, finding.where, finding.problem))
