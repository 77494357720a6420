"""The upstream seam: two clients that pass the same fault tests (`fast`, `httpx_client`)."""
