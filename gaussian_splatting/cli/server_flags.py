"""Where a viewer listens: the flags, and a word of warning."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import socket

from gaussian_splatting.environment import OWN_NAME
from gaussian_splatting.errors import SplatError

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")

log = logging.getLogger("gaussian_splatting")


def add_server_flags(group: argparse._ArgumentGroup) -> None:
    """Add where the viewer listens."""
    group.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: only this machine)"
    )
    group.add_argument(
        "--port", type=port_number, default=8080, help="port, the next free one from here (default 8080)"
    )


def port_number(text: str) -> int:
    """An argparse type: a TCP port; 0 is any free one."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not a port from 0 to 65535")
    return number


def require_viser() -> None:
    """Raise SplatError when viser is not installed: better before a training than in its middle."""
    if importlib.util.find_spec("viser") is None:
        raise SplatError(f'the viewer needs viser: pip install "{OWN_NAME}[viewer]"')


def require_host(host: str) -> None:
    """Raise SplatError when no server can listen on this address: viser would wait for itself without end."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SplatError(
            f"--host {host}: this machine cannot listen there ({reason}); give one of its own addresses, "
            "127.0.0.1 (only this machine) or 0.0.0.0 (all of them)"
        ) from error


def warn_about_host(host: str) -> None:
    """Say what it means to listen on more than this machine."""
    if host not in LOCAL_HOSTS:
        log.warning(
            "--host %s: whoever reaches this machine can see the scene and use every button; there is no password", host
        )
