"""Records arrive as they were sent or are refused; mailboxes never block and leave nothing behind."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt import wire
from vla_bt.port import GateStatus, Request
from vla_bt.words import Source, Twist

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TWISTS = st.builds(Twist, FINITE, FINITE, FINITE)


@given(
    st.builds(
        Request,
        TWISTS,
        st.sampled_from(list(Source)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**64 - 1),
        FINITE,
        st.integers(0, 2**64 - 1),
    ),
    FINITE,
)
def test_a_request_survives_the_wire(request: Request, sent_s: float) -> None:
    assert wire.unpack_request(wire.pack_request(request, sent_s)) == (request, sent_s)


@given(
    st.booleans(),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=50),
    TWISTS,
    st.sampled_from(list(Source)),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=50),
)
def test_a_status_survives_the_wire(latched: bool, fault: str, applied: Twist, source: Source, words: str) -> None:
    status = GateStatus(latched, fault, applied, source, 5.0, words=words)
    assert wire.unpack_gate_status(wire.pack_gate_status(status), 5.0) == status
    assert wire.unpack_gate_status(wire.pack_gate_status(status), 7.5) == status  # it waited: it is as old as it is
    assert wire.unpack_gate_status(wire.pack_gate_status(status), 4.0).received_s == 4.0  # no clock is ahead of the reader's


@given(st.binary(max_size=120))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    for unpack in (wire.unpack_request, lambda record: wire.unpack_gate_status(record, 0.0)):
        with pytest.raises(wire.WireError):
            unpack(data)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(wire.WireError, match="non-finite"):
        wire.unpack_request(wire.pack_request(Request(Twist(bad, 0.0, 0.0), Source.POLICY), 1.0))
    with pytest.raises(wire.WireError, match="non-finite"):
        wire.unpack_request(wire.pack_request(Request(Twist(), Source.POLICY, valid_for_s=bad), 1.0))
    with pytest.raises(wire.WireError, match="non-finite"):
        wire.unpack_request(wire.pack_request(Request(Twist(), Source.POLICY), bad))


def test_another_version_and_a_truncated_record_are_refused() -> None:
    data = wire.pack_request(Request(Twist(), Source.IDLE), 1.0)
    other = wire.VERSION + 1
    with pytest.raises(wire.WireError, match=f"version {other}"):
        wire.unpack_request(data[:4] + other.to_bytes(2, "little") + data[6:])
    with pytest.raises(wire.WireError, match="expected"):
        wire.unpack_request(data[:-1])


def test_mailboxes_exchange_datagrams_in_order_and_never_block(tmp_path: Path) -> None:
    here, there = wire.Mailbox(tmp_path / "a"), wire.Mailbox(tmp_path / "b")
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o600
    assert here.receive() == []
    assert here.send(b"1", tmp_path / "b")
    assert here.send(b"2", tmp_path / "b")
    assert there.receive() == [b"1", b"2"]
    assert not here.send(b"x", tmp_path / "nobody")
    sent = sum(here.send(b"flood", tmp_path / "b") for _ in range(5000))
    assert 0 < sent < 5000, "a full queue loses the message instead of blocking"
    there.close()
    assert not (tmp_path / "b").exists()
    assert not here.send(b"x", tmp_path / "b")
    here.close()


def test_a_full_system_loses_the_message_and_other_errors_are_raised(tmp_path: Path) -> None:
    class Refusing:
        def __init__(self, number: int) -> None:
            self.number = number

        def sendto(self, *_: object) -> int:
            raise OSError(self.number, os.strerror(self.number))

    box = wire.Mailbox(tmp_path / "a")
    real = box._socket
    box._socket = Refusing(errno.ENOBUFS)  # type: ignore[assignment]
    assert not box.send(b"x", tmp_path / "b")
    box._socket = Refusing(errno.EMSGSIZE)  # type: ignore[assignment]
    with pytest.raises(OSError, match="long"):
        box.send(b"x", tmp_path / "b")
    box._socket = real
    box.close()


def test_a_leftover_socket_is_replaced(tmp_path: Path) -> None:
    killed = wire.Mailbox(tmp_path / "a")
    again = wire.Mailbox(tmp_path / "a")
    other = wire.Mailbox(tmp_path / "b")
    assert other.send(b"hello", tmp_path / "a")
    assert again.receive() == [b"hello"]
    killed.close()
    assert other.send(b"still there", tmp_path / "a"), "only its own file is removed"
    assert again.receive() == [b"still there"]
    for box in (other, again):
        box.close()
    assert list(tmp_path.iterdir()) == []
    again.close()  # the file is gone already


def test_the_runtime_directory_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLA_BT_RUNTIME_DIR", str(tmp_path / "mine"))
    path = wire.runtime_directory()
    assert path == tmp_path / "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
