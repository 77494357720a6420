"""Wire dialects: bytes and dicts in, core types out. Nothing here opens a socket."""
