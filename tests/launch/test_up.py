"""The start command as a user meets it: real processes, ports and signals."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.hub_tools import SimulatorControl
from tests.support.running_hub import ROOT, RunningHub, data_folder, own_environment

pytestmark = pytest.mark.e2e

PROBE_GROQ = """
from routing.models import Provider
from routing.tasks import probe_provider
probe_provider.delay(Provider.objects.get(slug="groq").pk)
"""


def up(data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """For starts that must fail: the whole output, and no wait longer than a minute."""
    return subprocess.run(
        [sys.executable, "-m", "dashboard.launch", "up"],
        cwd=ROOT,
        env=own_environment(data, environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ask(hub: RunningHub) -> httpx.Response:
    return httpx.post(
        f"{hub.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {hub.api_key}"},
        json={
            "model": "openai/gpt-oss-120b",
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 5,
        },
        timeout=30,
    )


@pytest.fixture(scope="module")
def breakable() -> Iterator[RunningHub]:
    with data_folder() as folder:
        running = RunningHub(folder, {"SIMULATOR_SPEED": "20"})
        yield running
        if running.is_running:
            running.kill_everything()


@pytest.fixture
def own_hub(breakable: RunningHub) -> RunningHub:
    """For tests that break it: one for all of them, started again when the last one stopped it."""
    if not breakable.is_running:
        breakable.start()
    return breakable


def answers(hub: RunningHub, timeout_s: float = 30.0) -> bool:
    """Once everything is back; a provider that is not there yet is an honest 502 until then."""
    deadline = time.monotonic() + timeout_s
    while ask(hub).status_code != 200:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def test_the_printed_curl_gets_an_answer(hub: RunningHub) -> None:
    command = str(hub.first_run["curl"])
    assert command.splitlines()[0] in hub.output
    answer = subprocess.run(
        ["sh", "-c", f"{command} --silent --fail"], capture_output=True, text=True, check=True
    )
    assert '"object":"chat.completion"' in answer.stdout


def test_it_prints_what_it_keeps(hub: RunningHub) -> None:
    kept = hub.first_run
    for name in ("url", "admin_username", "admin_password", "api_key", "rest_token", "path"):
        assert str(kept[name]) in hub.output
    assert stat.S_IMODE((hub.data / "first-run.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((hub.data / "secrets.json").stat().st_mode) == 0o600


def test_the_admin_can_log_in_with_the_printed_password(hub: RunningHub) -> None:
    with httpx.Client(base_url=hub.url, follow_redirects=True) as client:
        client.get("/login/")
        form = {
            "username": hub.first_run["admin_username"],
            "password": hub.first_run["admin_password"],
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        }
        answer = client.post("/login/", data=form, headers={"Referer": hub.url})
    assert answer.status_code == 200
    assert "sessionid" in client.cookies


def test_a_second_hub_runs_beside_the_first(hub: RunningHub) -> None:
    with data_folder() as folder:
        second = RunningHub(folder).start()
        try:
            assert second.url != hub.url
            assert second.simulator_url != hub.simulator_url
            assert ask(second).status_code == 200
            refused = httpx.get(
                f"{second.url}/v1/models", headers={"Authorization": f"Bearer {hub.api_key}"}
            )
            assert refused.status_code == 401
            assert ask(hub).status_code == 200
        finally:
            assert second.stop() == 0


def test_without_simulator_and_keys_it_starts_and_says_what_is_missing() -> None:
    with data_folder() as folder:
        bare = RunningHub(folder, {"PANELBOARD_SIMULATOR": "off"}).start()
        try:
            assert "none has a key yet: store one in the admin" in bare.output
            assert "simulator started" not in bare.output
            refused = ask(bare)
            assert refused.status_code in (404, 503), refused.text
            assert refused.json()["error"]["message"]
        finally:
            assert bare.stop() == 0


def test_a_second_start_with_the_same_data_folder_is_refused(hub: RunningHub) -> None:
    refused = up(hub.data)
    assert refused.returncode == 1
    assert refused.stdout.splitlines() == [
        (
            f"panelboard: a hub is already running with the data folder {hub.data}: stop it, "
            "or set PANELBOARD_DATA to another folder for a second one"
        )
    ]
    assert ask(hub).status_code == 200


def test_a_taken_port_gives_one_line() -> None:
    with data_folder() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = up(folder, PORT=str(port))
    assert refused.returncode == 1
    assert refused.stdout.splitlines() == [
        (
            f"panelboard: cannot listen on 127.0.0.1:{port}: the port is taken; "
            "set PORT to another one, for example PORT=8080"
        )
    ]


def test_a_folder_without_permission_gives_one_line() -> None:
    with data_folder() as folder:
        (folder / "file").write_text("")
        refused = up(folder / "file" / "data")
    assert refused.returncode == 1
    assert len(refused.stdout.splitlines()) == 1
    assert "set PANELBOARD_DATA to a folder of your own" in refused.stdout


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "http", "PORT must be a whole number, not 'http'"),
        ("PORT", "70000", "PORT must be between 0 and 65535, not 70000"),
        ("PANELBOARD_WEB_WORKERS", "0", "PANELBOARD_WEB_WORKERS must be between 1 and 64, not 0"),
    ],
)
def test_a_wrong_setting_gives_one_line(name: str, value: str, words: str, tmp_path: Path) -> None:
    refused = up(tmp_path, **{name: value})
    assert refused.returncode == 1
    assert (refused.stdout + refused.stderr).splitlines() == [f"panelboard: {words}"]


def test_an_unreachable_database_is_said_without_a_traceback(tmp_path: Path) -> None:
    refused = up(tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert refused.returncode == 1
    assert "the database does not answer" in refused.stdout
    assert "Traceback" not in refused.stdout


@pytest.mark.parametrize("child", ["web", "recorder", "worker", "simulator", "postgres"])
def test_a_crashed_child_is_started_again(own_hub: RunningHub, child: str) -> None:
    said = len(own_hub.lines)
    os.kill(own_hub.pid_of(child), 9)
    own_hub.wait_for_line(f"{child} ended unexpectedly (killed by SIGKILL)", 30, after=said)
    own_hub.wait_for_line(f"{child} is running again", 60, after=said)
    assert answers(own_hub)


def test_it_starts_again_after_everything_was_killed(own_hub: RunningHub) -> None:
    before = own_hub.first_run
    assert answers(own_hub)
    own_hub.kill_everything()
    own_hub.start()
    after = own_hub.first_run
    assert {after[name] for name in ("api_key", "rest_token", "admin_password")} == {
        before[name] for name in ("api_key", "rest_token", "admin_password")
    }
    assert answers(own_hub)


def test_nothing_is_left_when_the_launcher_alone_is_killed(own_hub: RunningHub) -> None:
    assert own_hub.process is not None
    left = own_hub.descendants()
    own_hub.process.kill()
    own_hub.process.wait()
    own_hub.start()
    assert not set(left) & set(own_hub.descendants())
    assert answers(own_hub)


def keep_a_probe_waiting(hub: RunningHub) -> None:
    with SimulatorControl(hub.simulator_url) as simulator:
        slow = {"provider": "groq", "fault": "slow_first_token", "seconds": 120}
        simulator.http.post("/_control/faults", json=slow).raise_for_status()
        hub.manage("shell", "--verbosity", "0", "-c", PROBE_GROQ)
        deadline = time.monotonic() + 60
        while all(row["closed_by"] for row in simulator.journal() if row["provider"] == "groq"):
            assert time.monotonic() < deadline, "no probe came to groq"
            time.sleep(0.1)


def test_ctrl_c_stops_everything(own_hub: RunningHub) -> None:
    """Not even a probe that waits for its provider holds it up until it has to be killed."""
    keep_a_probe_waiting(own_hub)
    started = own_hub.descendants()
    assert own_hub.stop() == 0
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert "did not stop in time" not in own_hub.output
    order = [line.split("| ")[1] for line in own_hub.lines if line.endswith(" stopped")]
    assert order.index("web stopped") < order.index("recorder stopped")
    assert order[-2:] == ["postgres stopped", "SIGINT: everything is stopped"]
