"""What a process that is killed, or a record that is torn, leaves to the reader."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from routing.core.record import Intent, Progress, RequestDone
from tests.routing.spool.disks import Make
from tests.routing.spool.records import (
    Read,
    intent,
    is_locked,
    new_id,
    progress,
    read_folder,
    records_in,
    segments,
    unsettled,
)
from tests.routing.spool.writing import eventually, fill

CHILD = """
import sys
from pathlib import Path
from routing.gateway.spool import SpoolWriter
from tests.routing.spool.records import done, finish, intent, new_id, progress

writer = SpoolWriter(Path(sys.argv[1]), "gateway", 2**30, segment_bytes=65536)
journal = open(sys.argv[2], "a", buffering=1)
waiting = []
while True:
    request_id = new_id()
    writer.append(intent(request_id))
    journal.write(f"intent {request_id.hex()}\\n")
    writer.append(progress(request_id, 40))
    waiting.append(request_id)
    if len(waiting) > 5:
        oldest = waiting.pop(0)
        writer.append(finish(oldest))
        writer.append(done(oldest))
        journal.write(f"done {oldest.hex()}\\n")
"""


@pytest.mark.parametrize("run", range(3))
def test_a_killed_process_leaves_all_it_had_appended(
    run: int, tmp_path: Path, folder: Path
) -> None:
    journal = tmp_path / "journal"
    root = Path(__file__).parents[3]
    child = subprocess.Popen([sys.executable, "-c", CHILD, folder, journal], cwd=root)
    try:
        eventually(lambda: journal.exists() and journal.stat().st_size > 40_000 * (run + 1))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    reads = read_folder(folder)
    assert not any(read.damaged for read in reads)
    assert [read.ended for read in reads[:-1]] == ["rotated"] * (len(reads) - 1)
    assert not is_locked(reads[-1].path)
    records = [record for read in reads for record in read.records]
    told = [line.split() for line in journal.read_text().splitlines() if len(line.split()) == 2]
    asked = {bytes.fromhex(value) for word, value in told if word == "intent" and len(value) == 32}
    answered = {bytes.fromhex(value) for word, value in told if word == "done" and len(value) == 32}
    assert asked <= {r.request_id for r in records if isinstance(r, Intent)}
    assert answered <= {r.request_id for r in records if isinstance(r, RequestDone)}
    assert unsettled(reads[-1].records) == unsettled(records)


def test_a_torn_last_record_costs_only_itself(make: Make, folder: Path) -> None:
    writer = make()
    ids = fill(writer, 5)
    writer.append(intent(torn := new_id()))
    [path] = segments(folder)
    data = bytearray(path.read_bytes())
    last = Read(path).items[-1]
    data[last.end - 10 : last.end] = bytes(10)
    path.write_bytes(data)
    seen = {record.request_id for record in Read(path).records}
    assert seen == set(ids)
    assert torn not in seen


def test_progress_is_kept_for_the_settlement(make: Make, folder: Path) -> None:
    writer = make()
    request_id = new_id()
    writer.append(intent(request_id))
    for chars in range(0, 4000, 40):
        writer.append(progress(request_id, chars))
    kept = [r for r in records_in(folder) if isinstance(r, Progress)]
    assert kept[-1].output_chars == 3960
