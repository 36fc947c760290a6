"""Who may open the page: from where, under which name, with which token.

Promises: without ``--host`` only this machine, and only under a name that is this machine's own, so that a foreign web page that
has its name point here (DNS rebinding) gets nothing. With it every request needs the token, compared in constant time. A
websocket needs an ``Origin`` that is the very page this server gave out. Tokens are in no log and, after the first request, in no
address.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass

from vla_bt.settings import SettingsError

LOCAL = ("127.0.0.1", "localhost", "::1")
COOKIE = "vla_bt_dashboard"


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach an address to listen on."""
    return host in LOCAL


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Access:
    """The rule.

    Attributes
    ----------
    host : str
        The address listened on.
    token : str
        Empty when none is asked for: on this machine alone.
    names : tuple of str
        Names of this machine, besides plain addresses.
    """

    host: str
    token: str = ""
    names: tuple[str, ...] = ()

    def refuse_host(self, header: str) -> str:
        """Return why a ``Host`` header is refused, empty when it is fine."""
        name = host_name(header)
        if is_local(self.host):
            fine = name in LOCAL
        else:
            fine = _is_address(name) or name in LOCAL or name in self.names or name == self.host.lower()
        return "" if fine else "this server has another name"

    def refuse_origin(self, origin: str, header: str) -> str:
        """Return why the ``Origin`` of a websocket under a ``Host`` is refused, empty when it is fine."""
        return "" if header and origin in (f"http://{header}", f"https://{header}") else "wrong origin"

    def knows(self, token: str) -> bool:
        """Tell whether a token is the right one, or none is needed."""
        return not self.token or hmac.compare_digest(token.encode(errors="replace"), self.token.encode())  # any byte may come


def access_for(host: str) -> Access:
    """Return the rule for an address to listen on, with a fresh token where one is needed.

    Raises
    ------
    SettingsError
        When it can be none: an empty one would listen on every interface, unasked.
    """
    if not host or not host.isprintable() or " " in host:
        raise SettingsError(f"--host {host!a} is no address; expected one such as 192.168.1.5, or 0.0.0.0 for all interfaces")
    if is_local(host):
        return Access(host)
    name = socket.gethostname().lower()
    return Access(host, new_token(), (name, f"{name}.local", socket.getfqdn().lower()))


def host_name(header: str) -> str:
    """Return the name in a ``Host`` header, without port and brackets; empty when it is none."""
    text = header.strip().lower()
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        return name if bracket and (not rest or (rest[0] == ":" and rest[1:].isdigit())) else ""
    name, colon, port = text.partition(":")
    return name if not colon or port.isdigit() else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
