"""Where a server listens, and what numbers its flags take."""

from __future__ import annotations

import re
import socket

import pytest

from gaussian_splatting.cli.server_flags import free_port
from gaussian_splatting.errors import SplatError
from gaussian_splatting.viewer import command


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])  # an address for documents: never one's own
def test_an_address_where_nothing_can_listen_is_refused(host):
    with pytest.raises(SplatError, match=f"--host {re.escape(host)}: this machine cannot listen there"):
        free_port(host, 0)


def test_the_next_free_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", port) > port
    assert free_port("127.0.0.1", port) == port
    assert free_port("localhost", 0) == 0


def test_no_free_port_up_to_the_last_is_refused(monkeypatch):
    class Taken(socket.socket):
        def bind(self, address):
            if address[1]:
                raise OSError(98, "Address already in use")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Taken)
    with pytest.raises(SplatError, match="--port 65530: no port from there to 65535 is free; give a lower one"):
        free_port("127.0.0.1", 65530)


def test_a_port_that_is_for_administrators_is_refused(monkeypatch):
    class Guarded(socket.socket):
        def bind(self, address):
            if 0 < address[1] < 1024:
                raise PermissionError(13, "Permission denied")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Guarded)
    with pytest.raises(SplatError, match=r"--port 80: you may not listen there \(Permission denied\); give a port"):
        free_port("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("flag", "text", "wanted"),
    [
        ("--stop_after", "nan", "a number of seconds above 0"),
        ("--stop_after", "inf", "a number of seconds above 0"),
        ("--stop_after", "-1", "a number of seconds above 0"),
        ("--port", "abc", "a port from 0 to 65535"),
        ("--port", "65536", "a port from 0 to 65535"),
        ("--largest", "wide", "an integer of at least 1"),
    ],
)
def test_numbers_of_flags_are_refused_by_what_they_should_be(flag, text, wanted, capsys):
    assert command.main(["-d", "run", flag, text]) == 2
    assert f"argument {flag}: {text} is not {wanted}" in capsys.readouterr().err
