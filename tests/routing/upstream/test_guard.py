"""What may be connected to, in how many spellings it is asked for."""

from __future__ import annotations

import asyncio
import socket
import time
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.errors import ConnectFailed
from routing.gateway.upstream.guard import (
    AllowList,
    Forbidden,
    Guard,
    Target,
    check_address,
    parse_target,
    system_resolver,
)

NOTHING = AllowList()
EVERYTHING = AllowList.parse(["0.0.0.0/0", "::/0", "*.test", "hub.test"])
HTTPS = Target("https", "hub.test", 443, "/")


def words(text: str) -> list[str]:
    return text.split()


NEVER = words("""
0.0.0.0 0.1.2.3 169.254.0.1 169.254.169.254 169.254.170.2 192.0.0.192 100.100.100.200
168.63.129.16 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: fe80::1 fe80::a9fe:a9fe febf::1 ff02::1 ff0e::1 fec0::1 fd00:ec2::254 fd20:ce::254
::ffff:169.254.169.254 ::ffff:0.0.0.0 ::ffff:a9fe:a9fe ::ffff:224.0.0.1
::169.254.169.254 ::127.0.0.1 ::10.0.0.1 ::ffff:0:127.0.0.1
2002:7f00:1:: 2002:a9fe:a9fe:: 2002:a00:1::1 2002:c0a8:101::
64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b::10.0.0.1 64:ff9b::c0a8:1
64:ff9b:1::127.0.0.1 64:ff9b:1:ffff::7f00:1
2001:0:7f00:1::1 2001:0:4136:e378:8000:63bf:80ff:fffe
2606:4700::5efe:127.0.0.1 fd00::200:5efe:10.0.0.1 100::1 4000::1 8000::1 abcd::1
""")
LISTED_ONLY = words("""
127.0.0.1 127.1.2.3 127.255.255.254 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255
192.168.0.1 192.168.255.255 100.64.0.1 100.127.255.255 192.0.2.1 198.51.100.1 203.0.113.1
198.18.0.1 198.19.255.255 ::1 fc00::1 fd12:3456::1 2001:db8::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
""")
PUBLIC = words("""
1.1.1.1 8.8.8.8 93.184.215.14 172.15.0.1 172.32.0.1 192.167.0.1 11.0.0.1 100.63.0.1 100.128.0.1
126.255.255.255 128.0.0.1 169.253.0.1 223.255.255.255 168.63.129.17
2606:4700::1111 2a00:1450:4001::200e 64:ff9b::8.8.8.8 ::ffff:8.8.8.8
""")


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allow", [NOTHING, EVERYTHING], ids=["nothing", "everything"])
def test_some_addresses_are_refused_whatever_is_listed(address: str, allow: AllowList) -> None:
    with pytest.raises(Forbidden, match="never"):
        check_address(HTTPS, ip_address(address), allow)


@pytest.mark.parametrize("address", LISTED_ONLY)
def test_private_addresses_need_the_list(address: str) -> None:
    with pytest.raises(Forbidden, match="PANELBOARD_PRIVATE_UPSTREAMS"):
        check_address(HTTPS, ip_address(address), NOTHING)
    assert check_address(HTTPS, ip_address(address), EVERYTHING)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert check_address(HTTPS, ip_address(address), NOTHING)


def test_a_wrapped_address_is_unwrapped_before_it_is_compared() -> None:
    allow = AllowList.parse(["127.0.0.1"])
    wrapped = ip_address("::ffff:127.0.0.1")
    assert str(check_address(HTTPS, wrapped, allow)) == "127.0.0.1"


@pytest.mark.parametrize(
    "target",
    [
        Target("http", "api.test", 80, "/"),
        Target("http", "api.test", 443, "/"),
        Target("https", "api.test", 22, "/"),
        Target("https", "api.test", 5432, "/"),
        Target("https", "api.test", 8443, "/"),
    ],
)
def test_plain_http_and_other_ports_need_the_list(target: Target) -> None:
    address = ip_address("93.184.215.14")
    with pytest.raises(Forbidden, match="https on port 443"):
        check_address(target, address, NOTHING)
    assert check_address(target, address, AllowList.parse(["api.test"]))
    assert check_address(target, address, AllowList.parse(["*.test"]))
    assert check_address(target, address, AllowList.parse(["93.184.215.0/24"]))


def test_a_listed_suffix_does_not_list_its_look_alikes() -> None:
    allow = AllowList.parse(["*.internal", "host.test"])
    for host in ("xinternal", "internal", "a.internal.example", "xhost.test", "a.host.test"):
        assert not allow.names(host)
    for host in ("a.internal", "b.a.internal", "host.test"):
        assert allow.names(host)


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "http://x", "a b", "host:80", "x..y", "*.", "/8"])
def test_a_listing_that_cannot_be_meant_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8"):
        AllowList.parse([entry])


def test_blank_entries_and_case_do_not_matter() -> None:
    allow = AllowList.parse(["", "  ", " Host.Internal. ", "[::1]"])
    assert allow.names("host.internal")
    assert allow.contains(ip_address("::1"))


GOOD = {
    "https://api.test": Target("https", "api.test", 443, "/"),
    "https://API.Test./v1": Target("https", "api.test", 443, "/v1"),
    "http://127.0.0.1:9470/groq/openai/v1": Target("http", "127.0.0.1", 9470, "/groq/openai/v1"),
    "https://api.test:8443/a/b?c=d&e=%20": Target("https", "api.test", 8443, "/a/b?c=d&e=%20"),
    "https://api.test?x=1": Target("https", "api.test", 443, "/?x=1"),
    "https://[2606:4700::1111]/v1": Target("https", "2606:4700::1111", 443, "/v1"),
    "https://[0:0:0:0:0:0:0:1]:1/": Target("https", "::1", 1, "/"),
    "https://my_host/v1beta/models/a-1.5:generateContent?alt=sse": Target(
        "https", "my_host", 443, "/v1beta/models/a-1.5:generateContent?alt=sse"
    ),
    "https://xn--bcher-kva.test/": Target("https", "xn--bcher-kva.test", 443, "/"),
}


@pytest.mark.parametrize("url", GOOD)
def test_a_plain_url_is_taken_apart(url: str) -> None:
    assert parse_target(url) == GOOD[url]


def test_what_is_sent_as_host_is_rebuilt() -> None:
    assert parse_target("https://API.test:443/").authority == "api.test"
    assert parse_target("http://api.test:443/").authority == "api.test:443"
    assert parse_target("https://[::1]:8000/").authority == "[::1]:8000"


ODD = [
    "",
    "api.test",
    "//api.test/",
    "ftp://api.test/",
    "file:///etc/passwd",
    "gopher://api.test:70/_x",
    "unix:///run/x.sock",
    "HTTP+unix://x",
    "https:api.test",
    "https:/api.test",
    "https:///api.test",
    "https://",
    "https://:443/",
    "https://user@api.test/",
    "https://user:pw@api.test/",
    "https://@api.test/",
    "https://api.test@evil.test/",
    "https://api.test/#x",
    "https://api.test#@evil.test/",
    "https://evil.test#.api.test/",
    "https://api.test\\@evil.test/",
    "https://api.test\\.evil.test/",
    "https://evil.test\\/api.test/",
    "https://api.test/\\evil",
    "https://api.test /",
    " https://api.test/",
    "https://api.test/\n",
    "https://api.test/\r\nx: y",
    "https://api.test\t/",
    "https://ap\ti.test/",
    "https://api.test/a b",
    "https://api.test\x00/",
    "https://api.test/\x7f",
    "https://api%2etest/",
    "https://%61pi.test/",
    "https://127.0.0.1%2f@evil.test/",
    "https://api..test/",
    "https://.api.test/",
    "https://-/",
    "https://api.test-/",
    "https://api.test:0/",
    "https://api.test:65536/",
    "https://api.test:99999/",
    "https://api.test:-1/",
    "https://api.test:/",
    "https://api.test:80:80/",
    "https://api.test:0x50/",
    "https://api.test:８０/",  # noqa: RUF001
    "https://ａpi.test/",  # noqa: RUF001
    "https://bücher.test/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://api.test/ü",
    "https://api.test/<x>",
    'https://api.test/"',
    "https://api.test/{x}",
    "https://api.test/|",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://1/",
    "https://0/",
    "https://127.0.0.1.1/",
    "https://127.0.0.256/",
    "https://127.0.0.01/",
    "https://1.2.3.0x4/",
    "https://api.test.123/",
    "https://[::1/",
    "https://::1/",
    "https://[::1]x/",
    "https://[::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[127.0.0.1]/",
    "https://[api.test]/",
    "https://[]/",
    "https://[::ffff:999.0.0.1]/",
    "https://" + "a" * 254 + ".test/",
]


@pytest.mark.parametrize("url", ODD)
def test_an_odd_spelling_is_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        parse_target(url)


_ALPHABET = st.sampled_from(list("htps:/@#?\\.%[]127.0x ab\t\r\n\x00ü:&=-_~"))


@settings(max_examples=200, deadline=None)
@given(st.text(_ALPHABET, max_size=24), st.text(_ALPHABET, max_size=12))
def test_whatever_is_accepted_means_the_same_to_other_parsers(middle: str, end: str) -> None:
    url = f"https://{middle}/{end}"
    try:
        target = parse_target(url)
    except Forbidden:
        return
    host = target.host
    assert (urlsplit(url).hostname or "").removesuffix(".") in (host, _expanded(url))
    assert httpx.URL(url).host.removesuffix(".") == host
    assert (urlsplit(url).port or 443) == target.port
    assert urlsplit(url).username is None
    assert socket.inet_aton(host) if host.replace(".", "").isdigit() else True


def _expanded(url: str) -> str:
    """urllib keeps the spelling of an IPv6 address; the guard writes it in one way."""
    found = urlsplit(url).hostname or ""
    return found if ":" in found else ""


class TestResolving:
    async def test_it_asks_no_resolver_for_an_address(self) -> None:
        guard = Guard(EVERYTHING, lambda host: pytest.fail("asked"))
        target = parse_target("http://127.0.0.1:8000/")
        assert await guard.addresses(target) == ["127.0.0.1"]

    async def test_one_bad_address_among_good_ones_refuses_all(self) -> None:
        guard = Guard(NOTHING, lambda host: ["93.184.215.14", "2606:4700::1111", "10.0.0.1"])
        with pytest.raises(Forbidden):
            await guard.addresses(HTTPS)

    async def test_it_asks_once_for_all_who_wait(self) -> None:
        asked: list[str] = []

        def resolver(host: str) -> list[str]:
            asked.append(host)
            time.sleep(0.05)
            return ["93.184.215.14"]

        guard = Guard(NOTHING, resolver)
        await asyncio.gather(*(guard.addresses(HTTPS) for _ in range(20)))
        await guard.addresses(HTTPS)
        assert asked == ["hub.test"]

    async def test_a_slow_resolver_does_not_hold_up_the_loop(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Guard, "LOOKUP_S", 0.05)
        guard = Guard(NOTHING, lambda host: time.sleep(0.3) or [])
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.005)
                beats += 1

        beating = asyncio.create_task(beat())
        with pytest.raises(ConnectFailed, match=r"no answer within 0\.05 s"):
            await guard.addresses(HTTPS)
        beating.cancel()
        assert beats >= 3

    async def test_the_last_good_answer_outlives_a_dead_resolver(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Guard, "FRESH_S", 0.0)
        answers = iter([["93.184.215.14"]])

        def resolver(host: str) -> list[str]:
            found = next(answers, None)
            if found is None:
                raise OSError(-3, "Temporary failure in name resolution")
            return found

        guard = Guard(NOTHING, resolver)
        for _ in range(3):
            assert await guard.addresses(HTTPS) == ["93.184.215.14"]
        monkeypatch.setattr(Guard, "STALE_S", 0.0)
        await asyncio.sleep(0.01)
        with pytest.raises(ConnectFailed, match="Temporary failure"):
            await guard.addresses(HTTPS)

    async def test_one_who_leaves_does_not_spoil_it_for_the_others(self) -> None:
        guard = Guard(NOTHING, lambda host: time.sleep(0.05) or ["93.184.215.14"])
        leaving = asyncio.create_task(guard.addresses(HTTPS))
        staying = asyncio.create_task(guard.addresses(HTTPS))
        await asyncio.sleep(0.01)
        leaving.cancel()
        assert await staying == ["93.184.215.14"]

    async def test_names_are_not_kept_without_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Guard, "MAX_NAMES", 3)
        guard = Guard(NOTHING, lambda host: ["93.184.215.14"])
        for number in range(10):
            await guard.addresses(HTTPS._replace(host=f"h{number}.test"))
        assert len(guard._answers) <= 3

    async def test_a_label_too_long_for_dns_is_a_failed_connection(self) -> None:
        guard = Guard(NOTHING)
        with pytest.raises(ConnectFailed, match="cannot resolve"):
            await guard.addresses(HTTPS._replace(host="a" * 64 + ".invalid"))

    def test_the_system_knows_localhost(self) -> None:
        assert "127.0.0.1" in system_resolver("localhost")
