from routing.snapshots.loading import load_snapshot
from routing.snapshots.watching import SnapshotWatcher

__all__ = ["SnapshotWatcher", "load_snapshot"]
