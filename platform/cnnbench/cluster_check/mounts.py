"""What the nodes are given: file_mounts, the cluster's token among them."""

import re
from collections.abc import Iterator
from pathlib import Path

from cnnbench.cluster_check.launcher_file import Document, Finding

TOKEN = "~/.ray/auth_token"
MAKE_TOKEN = "make one: ray get-auth-token --generate && chmod 600 ~/.ray/auth_token"


def sources(document: Document) -> Iterator[Finding]:
    """Mounts of what is not there, which Ray passes over."""
    for remote, local in document.mapping("file_mounts").items():
        place = ("file_mounts", str(remote))
        path = Path(str(local)).expanduser()
        if remote == TOKEN and not path.exists():
            yield document.finding(place, f"{local}: no such file", MAKE_TOKEN)
        elif not path.exists():
            problem = f"{local}: nothing there, seen from {Path.cwd()}"
            yield document.finding(place, problem, "run this, and `ray up`, in the folder that the paths start from")
        elif remote == TOKEN and path.stat().st_mode & 0o077:
            problem = f"{local}: others on this machine may read it (mode {path.stat().st_mode & 0o777:o})"
            yield document.finding(place, problem, f"chmod 600 {local}")


def private_key(document: Document) -> Iterator[Finding]:
    """The key that `ray up` logs in with."""
    key = document.get("auth", "ssh_private_key")
    if isinstance(key, str) and "REPLACE-" not in key and not Path(key).expanduser().exists():
        yield document.finding(("auth", "ssh_private_key"), f"{key}: no such file", "make one: ssh-keygen -t ed25519")


def token(document: Document) -> Iterator[Finding]:
    """The cluster's password must be on every node, for its owner alone."""
    if TOKEN not in document.mapping("file_mounts"):
        problem = "no token: whoever reaches a port of Ray's runs commands on the cluster (CVE-2023-48022)"
        yield document.finding(("file_mounts",), problem, f'write "{TOKEN}": {TOKEN}; {MAKE_TOKEN}')
    chmod = re.compile(r"chmod\s+0?600\s+~/\.ray/auth_token")
    if not any(chmod.search(command) for _, command in document.commands("setup_commands")):
        problem = "nothing makes the token readable by its owner alone: it arrives with mode 644"
        yield document.finding(("setup_commands",), problem, f"begin with: chmod 600 {TOKEN}")
