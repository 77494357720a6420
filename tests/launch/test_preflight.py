from __future__ import annotations

import socket
import stat
import threading
from pathlib import Path

import pytest

from dashboard.launch import preflight
from dashboard.launch.errors import LaunchError


def test_a_taken_port_is_said_in_one_line() -> None:
    with preflight.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError) as failure:
            preflight.listen("127.0.0.1", port)
    assert str(failure.value) == (
        f"cannot listen on 127.0.0.1:{port}: the port is taken; "
        "set PORT to another one, for example PORT=8080"
    )


def test_an_address_of_another_machine_is_said_in_one_line() -> None:
    with pytest.raises(LaunchError, match="set HOST to an address of this machine"):
        preflight.listen("192.0.2.1", 0)


def test_it_waits_for_a_port_that_a_killed_hub_still_holds() -> None:
    holder = preflight.listen("127.0.0.1", 0)
    port = holder.getsockname()[1]
    timer = threading.Timer(0.4, holder.close)
    timer.start()
    with preflight.listen("127.0.0.1", port, patience_s=10) as listener:
        assert listener.getsockname()[1] == port
    timer.join()


def test_clients_can_connect_before_a_web_process_accepts() -> None:
    with (
        preflight.listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname(), timeout=2) as client,
    ):
        assert client.getpeername() == listener.getsockname()


def test_the_data_folder_belongs_to_one_hub_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(LaunchError, match="a hub is already running with the data folder")
    with preflight.claim_data_folder(tmp_path / "data"), refused:
        preflight.claim_data_folder(tmp_path / "data")
    preflight.claim_data_folder(tmp_path / "data").close()


def test_the_data_folder_is_closed_to_others(tmp_path: Path) -> None:
    preflight.claim_data_folder(tmp_path / "data").close()
    assert not stat.S_IMODE((tmp_path / "data").stat().st_mode) & 0o066
    assert stat.S_IMODE((tmp_path / "data" / "spool").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LaunchError) as failure:
        preflight.claim_data_folder(tmp_path / "file" / "data")
    assert "set PANELBOARD_DATA to a folder of your own" in str(failure.value)
    assert "\n" not in str(failure.value)


def test_it_tells_a_killed_hub_from_a_stopped_one(tmp_path: Path) -> None:
    with preflight.claim_data_folder(tmp_path) as lock:
        assert not preflight.was_killed(lock)
        preflight.note_running(lock)
    with preflight.claim_data_folder(tmp_path) as lock:
        assert preflight.was_killed(lock)
        preflight.note_stopped(lock)
    with preflight.claim_data_folder(tmp_path) as lock:
        assert not preflight.was_killed(lock)


def test_a_port_beside_is_at_the_same_distance_when_it_is_free() -> None:
    with preflight.listen("127.0.0.1", 0) as base:
        port = base.getsockname()[1] - 2
        assert preflight.port_beside(port, 2) not in (0, port + 2)
        assert preflight.port_beside(70_000 - 1470, 1470) > 0
