"""The data plane, from pure rules (core) to its Django edge."""

from routing.compiled.importing import use_build

use_build()  # before any module of the hot path is imported
