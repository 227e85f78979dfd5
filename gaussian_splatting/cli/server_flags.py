"""Where a viewer listens: the flags, and a word of warning."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import socket
from typing import Any

from gaussian_splatting.cli.number_flags import LAST_PORT, port
from gaussian_splatting.environment import OWN_NAME
from gaussian_splatting.errors import SplatError

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")

log = logging.getLogger("gaussian_splatting")


def add_server_flags(group: argparse._ArgumentGroup) -> None:
    """Add where the viewer listens."""
    group.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: only this machine)"
    )
    group.add_argument("--port", type=port, default=8080, help="port, the next free one from here (default 8080)")


def require_viser() -> None:
    """Raise SplatError when viser is not installed: better before a training than in its middle."""
    if importlib.util.find_spec("viser") is None:
        raise SplatError(f'the viewer needs viser: pip install "{OWN_NAME}[viewer]"')


def free_port(host: str, port: int) -> int:
    """The first port from `port` on where a server can listen on this address; 0 stays 0: any.

    Raises SplatError when there is none: viser would wait for itself without end.
    """
    try:
        places = {entry[4][:2]: entry for entry in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)}
        for place in places.values():
            _listen(place, 0)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SplatError(
            f"--host {host}: this machine cannot listen there ({reason}); give one of its own addresses, "
            "127.0.0.1 (only this machine) or 0.0.0.0 (all of them)"
        ) from error
    for number in range(port, LAST_PORT + 1):
        try:
            for place in places.values():
                _listen(place, number)
            return number
        except PermissionError as error:
            raise SplatError(
                f"--port {number}: you may not listen there ({error.strerror}); give a port from 1024 on"
            ) from error
        except OSError:  # somebody else listens there
            continue
    raise SplatError(f"--port {port}: no port from there to {LAST_PORT} is free; give a lower one, or 0 for any")


def _listen(place: tuple[Any, ...], port: int) -> None:
    family, kind, protocol, _, (host, _, *rest) = place
    with socket.socket(family, kind, protocol) as probe:
        if os.name == "posix":  # elsewhere this flag would take a port from who has it
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((host, port, *rest))
        probe.listen(1)


def warn_about_host(host: str) -> None:
    """Say what it means to listen on more than this machine."""
    if host not in LOCAL_HOSTS:
        log.warning(
            "--host %s: whoever reaches this machine can see the scene and use every button; there is no password", host
        )
