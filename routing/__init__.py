"""The data plane, from pure rules (core) to its Django edge."""
