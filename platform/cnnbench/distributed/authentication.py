"""Ray's token: who has none can neither query a cluster nor run code on it. Ray listens on every interface of a node,
also when it was started for one machine; so a Ray without a token is neither started nor used."""

import logging
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import ray
from ray._private import services
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

from cnnbench.errors import UserError

PROBE_S = 90.0
REMEDY = "run `ray get-auth-token --generate`, and start every node with RAY_AUTH_MODE=token and that ~/.ray/auth_token"

log = logging.getLogger(__name__)

# What a stranger would do first. In a process of its own: Ray reads mode and token once in a process.
_STRANGER = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1])
except AuthenticationError:
    sys.exit(3)
"""


class TokenError(UserError):
    """A Ray that is, or would be, open to strangers, or whose token this process has not."""


def secure(address: str | None) -> None:
    """Makes sure that the Ray at ``address`` (as ``ray.init`` takes it) wants a token, and that this process has it. A
    Ray that is yet to be started here gets one, in a file that nobody else can read. Raises TokenError."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        raise TokenError("RAY_AUTH_MODE turns the token off, and Ray's ports are open to the network; unset it")
    if address and "://" in address:
        raise TokenError("give HOST:PORT of the cluster's head; Ray Client addresses (ray://) are not supported")
    place = services.canonicalize_bootstrap_address(address)  # type: ignore[arg-type]  # None: Ray is yet to be started
    file = token_file()
    if file is not None and file.exists():
        keep_private(file)
    if place is None:
        if file is not None:
            _create(file)
        return
    if not maybe_enable_token_auth_if_token_available(warn_if_disabled=False):
        raise TokenError(f"{place}: no token here: a cluster that is used over the network needs one; {REMEDY}")
    if _lets_strangers_in(place):
        raise TokenError(f"{place}: this cluster asks for no token, and strangers can run code on it; {REMEDY}")
    try:
        ray._raylet.GcsClient(address=place)  # type: ignore[attr-defined]
    except ray.exceptions.AuthenticationError:
        where = file or "RAY_AUTH_TOKEN"
        raise TokenError(f"{place}: this cluster has another token than {where}; copy its ~/.ray/auth_token") from None


def token_file() -> Path | None:
    """Where Ray reads its token; None: from the environment."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return None
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def keep_private(file: Path) -> None:
    """Takes a token file away from group and others: Ray writes it with mode 644. Raises TokenError."""
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        try:
            file.chmod(0o600)
        except OSError as error:
            remedy = f"its owner must chmod 600 it ({error.strerror})"
            raise TokenError(f"{file}: others can read this token; {remedy}") from None
        log.warning("%s: others could read this token (mode %o); its mode is 600 now", file, mode)


def _create(file: Path) -> None:
    """Writes a new token, unless there is one: whole and private from its first moment, whoever else does it too."""
    if file.exists():
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(secrets.token_hex(32))
    with suppress(FileExistsError):
        os.link(aside, file)
    aside.unlink()


def _lets_strangers_in(place: str) -> bool:
    """True if the cluster answers to a process without a token. Raises TokenError if it does not answer at all."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_TOKEN")}
    command = [sys.executable, "-c", _STRANGER, place]
    try:
        asked = subprocess.run(
            command, env={**without, "RAY_AUTH_MODE": "disabled"}, timeout=PROBE_S,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        asked = None
    if asked is None or asked.returncode not in (0, 3):
        raise TokenError(f"{place}: no Ray answers there")
    return asked.returncode == 0
