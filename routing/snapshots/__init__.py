from routing.snapshots.connection import Database
from routing.snapshots.loading import read_snapshot
from routing.snapshots.watching import SnapshotWatcher

__all__ = ["Database", "SnapshotWatcher", "read_snapshot"]
