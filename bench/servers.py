"""What is measured: the upstream itself, nginx, LiteLLM's proxy and Portkey's gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from typing_extensions import override

from bench import tools
from bench.paths import (
    HERE,
    LITELLM_PORT,
    NGINX_PORT,
    PORTKEY_PORT,
    RUN,
    UPSTREAM,
    UPSTREAM_PORT,
    UPSTREAM_URL,
)
from bench.processes import GATEWAY_CORE, LOAD_CORE, Program, need_program

OPENAI, ANTHROPIC = "openai", "anthropic"  # what the upstream speaks
LITELLM_KEY = "sk-bench-0123456789abcdef0123456789abcdef"


class Server(Protocol):
    name: str
    port: int
    headers: Mapping[str, tuple[str, ...]]  # by what the upstream speaks; absent: cannot translate

    def start(self) -> None:
        """Returns when it listens. Raises BenchError with the reason if it cannot run here."""
        ...

    def stop(self) -> None: ...

    def parts(self) -> Mapping[str, int]:
        """Process ids by part, whose CPU and memory count; none for the upstream itself."""
        ...

    def settle(self) -> None:
        """Wait until work that was put off is done, so that it is counted with its requests."""
        ...


class Direct:
    """No gateway at all: what the upstream and the load client alone can do."""

    name = "direct"
    port = UPSTREAM_PORT
    headers: Mapping[str, tuple[str, ...]] = MappingProxyType({OPENAI: ()})

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def parts(self) -> Mapping[str, int]:
        return {}


class _OneProgram(Direct):
    def __init__(self) -> None:
        self._program: Program | None = None

    @override
    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()
            self._program = None

    @override
    def parts(self) -> Mapping[str, int]:
        return {self.name: self._program.pid} if self._program is not None else {}


class Nginx(_OneProgram):
    name = "nginx"
    port = NGINX_PORT

    @override
    def start(self) -> None:
        folder = RUN / "nginx"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "nginx.conf"
        config.write_text(
            _filled(HERE / "nginx.conf.in", listen=NGINX_PORT, upstream=UPSTREAM_PORT)
        )
        command = [need_program("nginx"), "-p", str(folder), "-c", str(config)]
        self._program = Program(self.name, command, core=GATEWAY_CORE)
        self._program.await_port(self.port)


class LiteLLM(_OneProgram):
    name = "litellm"
    port = LITELLM_PORT
    headers: Mapping[str, tuple[str, ...]] = MappingProxyType(
        dict.fromkeys((OPENAI, ANTHROPIC), (f"Authorization: Bearer {LITELLM_KEY}",))
    )

    @override
    def start(self) -> None:
        packages = tools.litellm_packages()
        config = RUN / "litellm.yaml"
        config.write_text(_filled(HERE / "litellm.yaml.in", upstream=UPSTREAM_URL, key=LITELLM_KEY))
        start = "from litellm import run_server; run_server()"
        command = [tools.base_python(), "-s", "-c", start, "--config", str(config)]
        command += ["--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--num_workers", "1"]
        quiet = {
            "PYTHONPATH": str(packages),
            "AIOHTTP_CONNECTOR_LIMIT": "4096",  # all streams at once; 0 would mean 100
            "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "4096",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "DISABLE_ADMIN_UI": "True",
            "HF_HUB_OFFLINE": "1",
        }
        self._program = Program(
            self.name, command, core=GATEWAY_CORE, environment=quiet, folder=RUN
        )
        self._program.await_port(self.port, patience_s=180)


class Portkey(_OneProgram):
    name = "portkey"
    port = PORTKEY_PORT
    headers: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {
            provider: (
                "Authorization: Bearer sk-bench",
                f"x-portkey-provider: {provider}",
                f"x-portkey-custom-host: {UPSTREAM_URL}",
            )
            for provider in (OPENAI, ANTHROPIC)
        }
    )

    @override
    def start(self) -> None:
        command = [*tools.portkey_command(), f"--port={self.port}", "--headless"]
        production = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
        self._program = Program(self.name, command, core=GATEWAY_CORE, environment=production)
        self._program.await_port(self.port)


def start_upstream(chunks: int, delay_ms: int) -> Program:
    command = [str(UPSTREAM), str(UPSTREAM_PORT), str(chunks), str(delay_ms)]
    program = Program("upstream", command, core=LOAD_CORE)
    program.await_port(UPSTREAM_PORT)
    return program


def _filled(template: Path, **values: object) -> str:
    text = template.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name.upper()}@", str(value))
    return text
