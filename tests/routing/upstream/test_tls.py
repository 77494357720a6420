"""Who is at the other end: certificates, names, addresses."""

from __future__ import annotations

import ssl

import pytest

from routing.core.errors import ConnectFailed
from routing.gateway.upstream.guard import AllowList, Forbidden, Guard
from tests.routing.upstream.certificates import Authority
from tests.routing.upstream.helpers import Make, asking, fetch
from tests.routing.upstream.scripted import Peer, Provider, plain, serving

HUB_TEST = AllowList.parse(["hub.test", "other.test"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def resolving(allow: AllowList, **names: list[str]) -> Guard:
    """A guard for which `a_b` resolves `a.b`."""
    table = {name.replace("_", "."): addresses for name, addresses in names.items()}

    def resolver(host: str) -> list[str]:
        if host not in table:
            raise OSError(-2, "Name or service not known")
        return table[host]

    return Guard(allow, resolver)


async def test_it_verifies_the_name_though_it_connects_to_an_address(
    make: Make, authority: Authority
) -> None:
    names: list[str | None] = []
    context = authority.server_context("hub.test")
    context.sni_callback = lambda tls, name, _: names.append(name)
    client = make(
        ssl_context=authority.client_context(),
        guard=resolving(HUB_TEST, hub_test=["127.0.0.1"]),
    )
    async with Provider(serving(plain()), context) as provider:
        url = f"https://hub.test:{provider.port}"
        assert await fetch(client, asking(url)) == (200, b"ok")
        assert await fetch(client, asking(url)) == (200, b"ok")
        assert provider.requests[0].values("host") == [f"hub.test:{provider.port}"]
        assert provider.accepted == 1
    assert names == ["hub.test"]


async def test_it_streams_a_large_answer_over_tls(make: Make, authority: Authority) -> None:
    client = make(
        ssl_context=authority.client_context(), guard=resolving(HUB_TEST, hub_test=["127.0.0.1"])
    )
    body = bytes(range(256)) * 8192
    context = authority.server_context("hub.test")
    async with Provider(serving(plain(body)), context) as provider:
        request = asking(f"https://hub.test:{provider.port}", body=body)
        assert await fetch(client, request) == (200, body)
        assert provider.requests[0].body == body


async def test_it_refuses_an_authority_it_does_not_know(make: Make, authority: Authority) -> None:
    client = make(
        ssl_context=ssl.create_default_context(),
        guard=resolving(HUB_TEST, hub_test=["127.0.0.1"]),
    )
    async with Provider(serving(plain()), authority.server_context("hub.test")) as provider:
        with pytest.raises(ConnectFailed, match="certificate") as caught:
            await fetch(client, asking(f"https://hub.test:{provider.port}"))
        assert not caught.value.was_sent
        assert provider.requests == []


async def test_it_refuses_a_certificate_for_another_name(make: Make, authority: Authority) -> None:
    client = make(
        ssl_context=authority.client_context(),
        guard=resolving(HUB_TEST, other_test=["127.0.0.1"]),
    )
    async with Provider(serving(plain()), authority.server_context("hub.test")) as provider:
        with pytest.raises(ConnectFailed, match="certificate"):
            await fetch(client, asking(f"https://other.test:{provider.port}"))
        assert provider.requests == []


async def test_it_refuses_a_server_that_speaks_no_tls(make: Make, authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(plain())

    client = make(
        ssl_context=authority.client_context(), guard=resolving(HUB_TEST, hub_test=["127.0.0.1"])
    )
    async with Provider(script) as provider:
        with pytest.raises(ConnectFailed, match="TLS"):
            await fetch(client, asking(f"https://hub.test:{provider.port}"))


async def test_it_tries_the_next_address_when_one_refuses(make: Make) -> None:
    client = make(guard=resolving(HUB_TEST, hub_test=["::1", "127.0.0.1"]))
    async with Provider(serving(plain())) as provider:
        assert await fetch(client, asking(f"http://hub.test:{provider.port}")) == (200, b"ok")


async def test_a_name_that_does_not_resolve_was_not_sent(make: Make) -> None:
    client = make(guard=resolving(HUB_TEST))
    with pytest.raises(ConnectFailed, match="cannot resolve") as caught:
        await fetch(client, asking("http://hub.test:8000"))
    assert not isinstance(caught.value, Forbidden)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]],
)
async def test_no_name_leads_to_an_address_that_is_not_allowed(
    addresses: list[str], make: Make
) -> None:
    client = make(guard=resolving(AllowList(), hub_test=addresses))
    async with Provider(serving(plain())) as provider:
        with pytest.raises(Forbidden) as caught:
            await fetch(client, asking(f"https://hub.test:{provider.port}"))
        assert caught.value.code == "forbidden_address"
        assert provider.accepted == 0


async def test_a_name_that_changes_its_answer_is_judged_anew(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "FRESH_S", 0.0)
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    client = make(guard=Guard(HUB_TEST, lambda host: next(answers)), limit=5)
    async with Provider(serving(plain(b"ok", "200 OK", "connection: close"))) as provider:
        url = f"http://hub.test:{provider.port}"
        assert await fetch(client, asking(url)) == (200, b"ok")
        with pytest.raises(Forbidden):
            await fetch(client, asking(url))
        assert provider.accepted == 1


async def test_the_environment_names_no_proxy(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Provider(serving(plain(b"trap"))) as trap, Provider(serving(plain())) as provider:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, trap.url)
        assert await fetch(make(), asking(provider.url)) == (200, b"ok")
        assert trap.accepted == 0
