"""Addresses of stores and folders, and the secrets in them."""

import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

_SECRET = re.compile("pass|token|secret|key", re.IGNORECASE)  # names of query fields: password, sslpassword, sslkey, …


def without_password(uri: str) -> str:
    """The URI as it may be written down: no password, also none in its query, and no user but a database's."""
    parts = urlsplit(uri)
    fields = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in fields if not _SECRET.search(name)]
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0] if parts.scheme.startswith("postgresql") else ""  # else it may be a token
    shown = f"{name}@{host}" if name else host
    if len(kept) == len(fields) and shown == parts.netloc:
        return uri
    return parts._replace(netloc=shown, query=urlencode(kept)).geturl()


def has_password(uri: str) -> bool:
    """True if a password or the like stands in the URI."""
    return bool(_secrets(uri))


def blackened(text: str, uri: str) -> str:
    """``text``, such as an error's message, without the secrets of ``uri``."""
    text = text.replace(uri, without_password(uri))
    for secret in _secrets(uri):
        text = text.replace(secret, "***").replace(unquote(secret), "***")
    return text


def below(uri: str, name: str) -> str:
    """The URI of what lies below a folder; a query (``?endpoint_override=…``) stays at its end."""
    base, mark, query = uri.partition("?")
    return f"{base.rstrip('/')}/{name}".rstrip("/") + mark + query


def parent_and_name(uri: str) -> tuple[str, str]:
    """The folder's URI, and what is in it."""
    base, mark, query = uri.partition("?")
    folder, _, name = base.rpartition("/")
    return folder + mark + query, name


def _secrets(uri: str) -> list[str]:
    parts = urlsplit(uri)
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    fields = [value for name, value in parse_qsl(parts.query) if _SECRET.search(name)]
    return [secret for secret in (password, *fields) if secret]
