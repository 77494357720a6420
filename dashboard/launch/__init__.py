"""Starting the hub: embedded Postgres, the processes, the first run. Standard library where it can be."""
