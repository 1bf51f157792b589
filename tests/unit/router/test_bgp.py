"""BGP as the router's list shows it: up is only what says so."""

from edged.core.types import RouteRow
from edged.router.bgp import BgpPeer, bgp_routes, parse_peers, parse_sessions
from tests.support import recorded


def test_every_recorded_v6_peer_is_read() -> None:
    rows = [row for one in recorded.replies("/routing/bgp/peer/print") for row in one["rows"]]
    peers = parse_peers(rows)
    assert {(peer.name, peer.established, peer.detail) for peer in peers} == {
        ("A Peer", True, "established"),
        ("peer1", False, "opensent"),
        ("Hub02", True, "established"),
        ("Hub01", False, "idle"),
    }
    uptimes = {peer.name: peer.uptime_ms for peer in peers}
    assert uptimes["A Peer"] == 11_884_941_000
    assert uptimes["Hub01"] is None


def test_every_recorded_v7_session_is_read() -> None:
    rows = [row for one in recorded.replies("/routing/bgp/session/print") for row in one["rows"]]
    peers = {peer.address: peer for peer in parse_sessions(rows, [])}
    assert set(peers) == {
        "10.10.10.1", "10.10.10.2", "111.111.11.11", "fe80::de2c:6eff:fec5:a7ff",
    }  # fmt: skip
    assert all(peer.established for peer in peers.values())
    assert peers["10.10.10.1"].uptime_ms == 310_000


def test_every_recorded_v7_connection_without_a_session_is_down() -> None:
    rows = [row for one in recorded.replies("/routing/bgp/connection/print") for row in one["rows"]]
    peers = parse_sessions([], rows)
    assert [(p.address, p.name, p.established) for p in peers] == [
        ("10.10.10.1", "c1", False), ("10.10.10.2", "c1", False),
    ]  # fmt: skip


def _session(**words: str) -> dict[str, str]:
    plain = {key.replace("_", "-"): value for key, value in words.items()}
    return {"name": "n1-1", "remote.address": "172.30.1.20%bridge@main", **plain}


CONNECTION = {"name": "n1", "remote.address": "172.30.1.20/32"}


def test_a_session_is_joined_to_its_connection_by_bare_address() -> None:
    assert parse_sessions([_session(established="true", uptime="5m10s")], [CONNECTION]) == (
        BgpPeer(
            address="172.30.1.20", name="n1", established=True, uptime_ms=310_000,
            detail="established",
        ),
    )  # fmt: skip


def test_a_cached_stopped_or_limited_session_is_down() -> None:
    for words in (
        {}, {"established": "false"}, {"established": ""},
        {"established": "true", "stopped": ""}, {"established": "true", "limit_exceeded": "true"},
    ):  # fmt: skip
        (peer,) = parse_sessions([_session(**words)], [CONNECTION])
        assert not peer.established
        assert peer.uptime_ms is None


def test_of_two_sessions_with_one_address_the_established_one_counts() -> None:
    up, down = _session(established="true", uptime="1s"), _session()
    for sessions in ([up, down], [down, up]):
        (peer,) = parse_sessions(sessions, [CONNECTION])
        assert peer.established


def test_a_disabled_connection_says_so() -> None:
    (peer,) = parse_sessions([], [CONNECTION | {"disabled": "true"}])
    assert peer.disabled
    assert not peer.established


def test_rows_without_an_address_are_no_peers() -> None:
    assert parse_peers([{"name": "x"}]) == ()
    assert parse_sessions([{"established": "true"}], [{"name": "x"}]) == ()


def test_bgp_routes_are_those_that_would_carry_the_vip() -> None:
    static = RouteRow(row_id="*1", next_hops=("172.30.1.20",))
    learned = RouteRow(
        row_id="*2", next_hops=("172.30.1.20",), static=False, dynamic=True, bgp=True
    )
    assert bgp_routes([static, learned]) == (learned,)
