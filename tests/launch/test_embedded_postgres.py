from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dashboard.launch import embedded_postgres as module
from dashboard.launch.accounts import Account
from dashboard.launch.embedded_postgres import (
    FAST_AND_FORGETFUL,
    AlreadyRunning,
    EmbeddedPostgres,
)
from dashboard.launch.errors import LaunchError
from tests.support.running_hub import data_folder


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder / "pg"


@pytest.fixture
def postgres(state: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(state, settings=FAST_AND_FORGETFUL)
    server.start()
    yield server
    server.stop()


def one(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_it_folds_the_case_of_every_letter(postgres: EmbeddedPostgres) -> None:
    assert one(postgres, "select upper('é')") == "É"
    assert one(postgres, "select 'É' ilike 'é'") is True


def test_it_listens_on_no_network_address(postgres: EmbeddedPostgres) -> None:
    assert one(postgres, "show listen_addresses") == ""
    assert one(postgres, "show max_connections") == "200"


def test_what_was_committed_survives_a_kill(state: Path) -> None:
    server = EmbeddedPostgres(state)
    server.start()
    try:
        with psycopg.connect(server.url) as connection:
            connection.execute("create table kept as select 41 + 1 as n")
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        server.start()
        assert one(server, "select n from kept") == 42
        with psycopg.connect(server.url) as connection:
            connection.execute("drop table kept")
    finally:
        server.stop()


def test_a_second_server_on_the_same_folder_is_refused(
    postgres: EmbeddedPostgres, state: Path
) -> None:
    with pytest.raises(AlreadyRunning, match="already running"):
        EmbeddedPostgres(state).start()
    assert one(postgres, "select 1") == 1


def test_an_orphan_of_a_killed_run_is_ended_first(state: Path) -> None:
    orphaned = EmbeddedPostgres(state)
    orphaned.start()
    orphan = orphaned.process
    assert orphan is not None
    orphaned.release()
    server = EmbeddedPostgres(state)
    server.start()
    try:
        assert orphan.wait(10) == 0
        assert one(server, "select 1") == 1
    finally:
        server.stop()


def test_a_pid_file_that_names_a_foreign_process_is_no_hindrance(state: Path) -> None:
    server = EmbeddedPostgres(state)
    server.start()
    cluster = server._cluster
    server.stop()
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        (cluster / "postmaster.pid").write_text(f"{sleeper.pid}\n{cluster}\n")
        server.start()
        assert one(server, "select 1") == 1
        assert sleeper.poll() is None
    finally:
        server.stop()
        sleeper.kill()
        sleeper.wait()


def test_a_half_made_cluster_of_a_killed_start_is_thrown_away() -> None:
    with data_folder() as folder:
        left_over = folder / "pg" / "cluster.new-abc"
        left_over.mkdir(parents=True)
        (left_over / "PG_VERSION").write_text("18\n")
        server = EmbeddedPostgres(folder / "pg", settings=FAST_AND_FORGETFUL)
        server.start()
        try:
            assert one(server, "select 1") == 1
            assert not left_over.exists()
        finally:
            server.stop()


def test_a_cluster_of_another_version_is_refused_with_what_to_do(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EmbeddedPostgres(state)
    first.start()
    first.stop()
    monkeypatch.setattr(module.pg_binaries.Binaries, "major", lambda self: 19)
    with pytest.raises(LaunchError, match="was made by Postgres 18, the installed server is 19"):
        EmbeddedPostgres(state).start()


def test_a_missing_server_is_said_with_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANELBOARD_PG_BIN", str(tmp_path))
    with pytest.raises(LaunchError, match="set DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "pg")


@pytest.mark.parametrize(
    ("account", "mode", "enters"),
    [
        (Account(12345, 12345), 0o700, False),
        (Account(12345, 12345), 0o711, True),
        (Account(12345, 12345), 0o710, False),
    ],
)
def test_it_knows_which_folders_another_account_can_enter(
    account: Account, mode: int, enters: bool
) -> None:
    with data_folder() as folder:
        folder.chmod(mode)
        assert account.can_enter(folder) is enters
        folder.chmod(0o700)
