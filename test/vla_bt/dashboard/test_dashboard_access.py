"""Only this machine by default, under its own name; with ``--host`` only with the token."""

from __future__ import annotations

import pytest

from vla_bt.dashboard.access import Access, access_for, host_name, is_local


@pytest.mark.parametrize("header", ["localhost", "localhost:8077", "127.0.0.1:8077", "[::1]:8077", "LOCALHOST:1"])
def test_a_local_server_answers_to_its_own_names(header: str) -> None:
    assert Access("localhost").refuse_host(header) == ""


@pytest.mark.parametrize(
    "header", ["", "evil.example", "evil.example:8077", "localhost.evil.example", "192.168.1.5:8077", "[::1", "localhost:80x"]
)
def test_a_local_server_answers_to_no_other_name(header: str) -> None:
    """A foreign page whose name was made to point here (DNS rebinding) sends its own name."""
    assert Access("localhost").refuse_host(header) != ""


def test_a_served_address_answers_to_addresses_and_to_the_machines_name() -> None:
    access = Access("0.0.0.0", "secret", ("robot", "robot.local"))
    for header in ("192.168.1.5:8077", "robot:8077", "robot.local", "localhost:8077", "[fe80::1]:8077"):
        assert access.refuse_host(header) == "", header
    for header in ("evil.example", "robot.evil.example", ""):
        assert access.refuse_host(header) != "", header


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", "http://localhost:9999", "ftp://localhost:8077", "localhost:8077"]
)
def test_a_websocket_of_another_origin_is_refused(origin: str) -> None:
    assert Access("localhost").refuse_origin(origin, "localhost:8077") != ""


def test_a_websocket_of_the_page_itself_is_taken() -> None:
    assert Access("localhost").refuse_origin("http://localhost:8077", "localhost:8077") == ""
    assert Access("localhost").refuse_origin("http://", "") != ""


def test_only_an_address_beyond_this_machine_needs_a_token_and_each_is_new() -> None:
    assert access_for("localhost").token == ""
    assert access_for("localhost").knows("")
    first, second = access_for("0.0.0.0"), access_for("192.168.1.5")
    assert first.token != second.token
    assert len(first.token) >= 24
    assert first.knows(first.token)
    for wrong in ("", first.token[:-1], first.token + "x", second.token, "é"):
        assert not first.knows(wrong)
    assert is_local("127.0.0.1")
    assert not is_local("0.0.0.0")
    assert not is_local("::")


def test_host_headers_are_read_as_browsers_write_them() -> None:
    assert host_name(" Robot:80 ") == "robot"
    assert host_name("[fe80::1]:80") == "fe80::1"
    assert host_name("a:b:c") == ""
