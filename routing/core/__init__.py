"""Pure rules: no I/O, no clock, no random source of its own; all three are passed in."""
