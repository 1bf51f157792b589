"""Rows to values and steps to sentences, in both dialects, against what was recorded."""

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.core.errors import ConfigError, RouterProtocolError
from edged.core.types import (
    CreateRow,
    RouteRow,
    SetComment,
    SetDisabled,
    SetNextHops,
    VipConfig,
)
from edged.router import dialect_v6, dialect_v7
from edged.router.text import Row
from tests.support import recorded

HOPS = ("172.30.1.20", "172.30.1.70", "172.30.1.82")


def vip(
    destination: str = "172.30.1.7/32", table: str = "main", check_gateway: str = "none"
) -> VipConfig:
    return VipConfig(
        name="web",
        destination=destination,
        routers=(),
        checks=(),
        routing_table=table,
        check_gateway=check_gateway,
    )


def v6_row(**words: str) -> Row:
    row = {
        ".id": "*1",
        "dst-address": "172.30.1.7/32",
        "gateway": ",".join(HOPS),
        "gateway-status": ",".join(f"{hop} reachable via  bridge" for hop in HOPS),
        "distance": "10",
        "active": "true",
        "static": "true",
        "disabled": "false",
        "comment": "ECMP to Gateway VIP",
    }
    return row | {key.replace("_", "-"): value for key, value in words.items()}


# --- reading, RouterOS 6 ---


def test_v6_reads_one_row_with_its_list() -> None:
    assert dialect_v6.parse_rows([v6_row()], vip()) == (
        RouteRow(row_id="*1", next_hops=HOPS, distance=10, comment="ECMP to Gateway VIP"),
    )


def test_v6_reads_every_recorded_route() -> None:
    seen = 0
    for one in recorded.replies("/ip/route/print"):
        if not one["routeros_version"].startswith("6"):
            continue
        for row in one["rows"]:
            destination = vip(row["dst-address"])
            parsed = dialect_v6.parse_rows([{".id": "*1"} | row], destination)
            if "routing-mark" in row:
                assert parsed == ()
                continue
            seen += 1
            (route,) = parsed
            assert ",".join(route.next_hops) == row.get("gateway", "")
            assert route.bgp == ("bgp" in row)
            assert route.dynamic == ("dynamic" in row)
            assert route.static == ("static" in row)
            assert route.blackhole == ("blackhole" in row)
            assert route.distance == int(row["distance"])
            assert bool(route.unreachable) == ("unreachable" in row["gateway-status"])
    assert seen >= 13


def test_v6_tells_the_unreachable_member_of_the_recorded_ecmp_route() -> None:
    status = "185.138.116.222 unreachable,185.138.116.223 reachable via  pppoe-out1"
    hops = ("185.138.116.222", "185.138.116.223")
    assert dialect_v6.unreachable_hops(hops, status) == ("185.138.116.222",)


@pytest.mark.parametrize(
    ("hops", "status", "unreachable"),
    [
        (("1.2.3.4",), "1.2.3.4 recursive via 10.152.1.230 ether5", ()),
        (("1.2.3.4", "5.6.7.8"),
         "1.2.3.4 recursive via 5.6.7.8,9.9.9.9 ether5,5.6.7.8 unreachable", ("5.6.7.8",)),
        (("1.2.3.4", "5.6.7.8"),
         "1.2.3.4 recursive via 10.0.0.1,5.6.7.8 ether5,5.6.7.8 reachable via  ether1", ()),
        (("1.2.3.4",), "1.2.3.4 on reserve unreachable", ("1.2.3.4",)),
        (("ether2",), "ether2 inactive", ("ether2",)),
        (("1.2.3.4%bridge", "1.2.3.40"),
         "1.2.3.4%bridge unreachable,1.2.3.40 reachable via  bridge", ("1.2.3.4%bridge",)),
        (("1.1.1.1", "1.1.1.1"), "1.1.1.1 unreachable,1.1.1.1 unreachable", ("1.1.1.1",)),
        (("1.1.1.1",), "", ()),
        (("1.1.1.1",), "something new", ()),
        (("1.1.1.1", "2.2.2.2"), "1.1.1.1 unreachable", ()),
        ((), "1.1.1.1 unreachable", ()),
    ],
)  # fmt: skip
def test_v6_splits_gateway_status_at_known_next_hops(
    hops: tuple[str, ...], status: str, unreachable: tuple[str, ...]
) -> None:
    assert dialect_v6.unreachable_hops(hops, status) == unreachable


@given(
    st.lists(st.sampled_from(["10.0.0.1", "10.0.0.12", "10.0.0.1%br", "ether1"]), max_size=5),
    st.data(),
)
def test_v6_gateway_status_parse_after_render_is_the_identity(
    hops: list[str], data: st.DataObject
) -> None:
    forms = {
        "unreachable": "{0} unreachable",
        "reachable": "{0} reachable via  bridge",
        "recursive": "{0} recursive via 10.0.0.1,10.0.0.12 ether5",
        "on": "{0} on web reachable via 10.0.0.12 ether1",
    }
    states = [data.draw(st.sampled_from(sorted(forms))) for _ in hops]
    status = ",".join(forms[state].format(hop) for hop, state in zip(hops, states, strict=True))
    down = [hop for hop, state in zip(hops, states, strict=True) if state == "unreachable"]
    found = dialect_v6.unreachable_hops(tuple(hops), status)
    assert found == tuple(dict.fromkeys(down))


@given(st.lists(st.text(max_size=20), max_size=4), st.text(max_size=80))
def test_v6_no_gateway_status_breaks_the_reader(hops: list[str], status: str) -> None:
    found = dialect_v6.unreachable_hops(tuple(hops), status)
    assert set(found) <= set(hops)


def test_v6_a_disabled_row_calls_nobody_unreachable() -> None:
    status = ",".join(f"{hop} inactive" for hop in HOPS)
    (row,) = dialect_v6.parse_rows([v6_row(disabled="true", gateway_status=status)], vip())
    assert row.disabled
    assert row.unreachable == ()


@pytest.mark.parametrize(
    "words", [{"type": "blackhole"}, {"blackhole": "true"}, {"type": "prohibit"}, {"blackhole": ""}]
)
def test_v6_a_row_that_drops_traffic_is_seen(words: dict[str, str]) -> None:
    (row,) = dialect_v6.parse_rows([v6_row(**words)], vip())
    assert row.blackhole


def test_v6_an_ordinary_row_with_a_false_blackhole_is_none() -> None:
    (row,) = dialect_v6.parse_rows([v6_row(blackhole="false", type="unicast")], vip())
    assert not row.blackhole


# --- reading, RouterOS 7 ---

V7_FULL = {
    ".id": "*80000060", "active": "true", "disabled": "false", "distance": "10",
    "dst-address": "172.30.1.7/32", "dynamic": "false", "ecmp": "true", "gateway": "172.30.1.20",
    "inactive": "false", "routing-table": "main", "static": "true", "comment": "x",
}  # fmt: skip
V7_BARE = {
    ".id": "*80000060", "dst-address": "172.30.1.7/32", "gateway": "172.30.1.20",
    "disabled": "true", "inactive": "false", "static": "true", "comment": "x",
}  # fmt: skip


def test_v7_reads_a_row_with_every_flag_and_one_with_hardly_any() -> None:
    (full,) = dialect_v7.parse_rows([V7_FULL], vip())
    assert full == RouteRow(
        row_id="*80000060", next_hops=("172.30.1.20",), distance=10, comment="x"
    )
    (bare,) = dialect_v7.parse_rows([V7_BARE], vip())
    assert bare == RouteRow(
        row_id="*80000060", next_hops=("172.30.1.20",), disabled=True, active=False,
        distance=1, comment="x",
    )  # fmt: skip


def test_v7_a_bare_row_of_ours_has_the_distance_it_was_made_with() -> None:
    ours, foreign = dialect_v7.parse_rows(
        [V7_BARE | {"comment": "x edged:web"}, V7_BARE | {".id": "*2"}], vip()
    )
    assert (ours.distance, foreign.distance) == (10, 1)
    (shown,) = dialect_v7.parse_rows([V7_BARE | {"comment": "edged:web", "distance": "30"}], vip())
    assert shown.distance == 30


def test_v7_reads_every_recorded_route() -> None:
    seen = 0
    for one in recorded.replies("/ip/route/print"):
        if not one["routeros_version"].startswith("7"):
            continue
        for row in one["rows"]:
            table = row.get("routing-table", "main")
            parsed = dialect_v7.parse_rows([{".id": "*1"} | row], vip(row["dst-address"], table))
            seen += 1
            (route,) = parsed
            assert route.next_hops == (row["gateway"],)
            assert route.active == (row.get("active") == "true")
            assert route.dynamic == (row.get("dynamic") == "true")
            assert route.static == (row.get("static") == "true")
            assert not route.disabled
            assert not route.unreachable
    assert seen >= 9


@pytest.mark.parametrize("value", ["", "yes", "no", "false"])
def test_v7_blackhole_counts_by_being_there(value: str) -> None:
    (row,) = dialect_v7.parse_rows(
        [{".id": "*1", "dst-address": "172.30.1.7/32", "blackhole": value, "static": "true"}], vip()
    )
    assert row.blackhole
    assert row.next_hops == ()


def test_v7_a_member_that_the_router_cannot_reach_is_named() -> None:
    (row,) = dialect_v7.parse_rows([V7_FULL | {"inactive": "true", "active": "false"}], vip())
    assert row.unreachable == ("172.30.1.20",)


def test_v7_other_routing_tables_are_left_out_and_a_missing_one_is_main() -> None:
    rows = [V7_FULL, V7_FULL | {".id": "*2", "routing-table": "wan2"}]
    assert [r.row_id for r in dialect_v7.parse_rows(rows, vip())] == ["*80000060"]
    assert [r.row_id for r in dialect_v7.parse_rows(rows, vip(table="wan2"))] == ["*2"]
    bare = {key: value for key, value in V7_FULL.items() if key != "routing-table"}
    assert len(dialect_v7.parse_rows([bare], vip())) == 1


BGP_V7 = V7_FULL | {".id": "*30000001", "bgp": "true", "dynamic": "true", "static": "false",
                    "distance": "20", "active": "false"}  # fmt: skip


@pytest.mark.parametrize("dialect", [dialect_v6, dialect_v7], ids=["v6", "v7"])
def test_bgp_and_disabled_rows_are_returned_too(dialect: ModuleType) -> None:
    rows = [V7_FULL, BGP_V7, V7_BARE | {".id": "*3"}]
    parsed = dialect.parse_rows(rows, vip())
    assert [(row.bgp, row.disabled) for row in parsed] == [
        (False, False), (True, False), (False, True),
    ]  # fmt: skip


@pytest.mark.parametrize("dialect", [dialect_v6, dialect_v7], ids=["v6", "v7"])
def test_a_row_of_another_destination_is_never_ours(dialect: ModuleType) -> None:
    assert dialect.parse_rows([V7_FULL | {"dst-address": "0.0.0.0/0"}], vip()) == ()


@pytest.mark.parametrize("dialect", [dialect_v6, dialect_v7], ids=["v6", "v7"])
def test_a_row_without_an_id_voids_the_reply(dialect: ModuleType) -> None:
    with pytest.raises(RouterProtocolError):
        dialect.parse_rows([V7_FULL | {".id": ""}], vip())


@pytest.mark.parametrize("dialect", [dialect_v6, dialect_v7], ids=["v6", "v7"])
@pytest.mark.parametrize("comment", ["10", "yes", "", "쿠버네티스 edged:web", "a=b,c\\", "\udcc5"])
def test_a_comment_stays_as_it_is(dialect: ModuleType, comment: str) -> None:
    (row,) = dialect.parse_rows([V7_FULL | {"comment": comment}], vip())
    assert row.comment == comment


# --- writing ---


def words(dialect: ModuleType, step: object, config: VipConfig) -> tuple[str, tuple[str, ...]]:
    made = dialect.render(step, config)
    return made.sentence.path, made.words()


def test_v6_writes_the_list_in_one_sentence() -> None:
    step = SetNextHops(row_id="*1", before=HOPS, after=HOPS[:2])
    assert words(dialect_v6, step, vip()) == (
        "/ip/route/set", ("=.id=*1", "=gateway=172.30.1.20,172.30.1.70"),
    )  # fmt: skip


def test_v6_hands_over_by_disabling_with_the_list_kept() -> None:
    step = SetDisabled(row_ids=("*1",), next_hops=HOPS, disabled=True)
    assert words(dialect_v6, step, vip()) == ("/ip/route/set", ("=.id=*1", "=disabled=yes"))


def test_v7_toggles_several_rows_in_one_sentence() -> None:
    step = SetDisabled(row_ids=("*80000001", "*80000002"), next_hops=HOPS[:2], disabled=False)
    assert words(dialect_v7, step, vip()) == (
        "/ip/route/set", ("=.id=*80000001,*80000002", "=disabled=no"),
    )  # fmt: skip


def test_v7_toggles_ipv6_rows_in_their_own_menu() -> None:
    step = SetDisabled(row_ids=("*1",), next_hops=("2001:db8::20",), disabled=True)
    path, _ = words(dialect_v7, step, vip("2001:db8::7/128"))
    assert path == "/ipv6/route/set"
    assert dialect_v7.read_request(vip("2001:db8::7/128")).sentence.path == "/ipv6/route/print"


@pytest.mark.parametrize("dialect", [dialect_v6, dialect_v7], ids=["v6", "v7"])
def test_adoption_writes_the_comment_and_nothing_else(dialect: ModuleType) -> None:
    step = SetComment(row_id="*1", before="길", after="길 edged:web")
    assert words(dialect, step, vip()) == ("/ip/route/set", ("=.id=*1", "=comment=길 edged:web"))


def test_v6_creates_one_row_with_a_list_and_v7_one_per_gateway() -> None:
    step = CreateRow(next_hops=HOPS[:2], comment="edged:web", disabled=False)
    assert words(dialect_v6, step, vip()) == (
        "/ip/route/add",
        ("=dst-address=172.30.1.7/32", "=gateway=172.30.1.20,172.30.1.70", "=distance=10",
         "=comment=edged:web", "=disabled=no"),
    )  # fmt: skip
    single = CreateRow(next_hops=HOPS[:1], comment="edged:web", disabled=True, check_gateway="ping")
    assert words(dialect_v7, single, vip(table="wan2")) == (
        "/ip/route/add",
        ("=dst-address=172.30.1.7/32", "=routing-table=wan2", "=gateway=172.30.1.20",
         "=distance=10", "=comment=edged:web", "=disabled=yes", "=check-gateway=ping"),
    )  # fmt: skip
    with pytest.raises(ValueError, match="unpack"):
        dialect_v7.render(step, vip())


def test_v7_never_writes_a_list() -> None:
    with pytest.raises(ConfigError):
        dialect_v7.render(SetNextHops(row_id="*1", before=HOPS, after=HOPS[:1]), vip())
    joined = CreateRow(next_hops=(",".join(HOPS),), comment="edged:web", disabled=True)
    with pytest.raises(AssertionError):
        dialect_v7.render(joined, vip())


def test_v6_never_writes_an_empty_list() -> None:
    with pytest.raises(AssertionError):
        dialect_v6.render(SetNextHops(row_id="*1", before=HOPS, after=()), vip())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (vip(table="wan2"), "routing_table"),
        (vip(check_gateway="ping"), "check_gateway"),
        (vip("2001:db8::7/128"), "IPv6"),
    ],
)
def test_v6_refuses_what_it_cannot_do_in_a_sentence(config: VipConfig, says: str) -> None:
    step = SetDisabled(row_ids=("*1",), next_hops=HOPS, disabled=True)
    for refuse in (lambda: dialect_v6.check_vip(config), lambda: dialect_v6.render(step, config)):
        with pytest.raises(ConfigError, match=says):
            refuse()
    dialect_v7.check_vip(config)


def test_v6_never_sets_a_check_gateway() -> None:
    step = CreateRow(next_hops=HOPS, comment="edged:web", disabled=False, check_gateway="ping")
    with pytest.raises(ConfigError):
        dialect_v6.render(step, vip())


_HOP = st.sampled_from([*HOPS, "172.30.1.20%bridge", "10.0.0.1@wan", "ether1"])
_COMMENT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(_HOP, min_size=1, max_size=6), _COMMENT, st.booleans())
def test_v6_parse_after_render_is_the_identity(
    hops: list[str],
    comment: str,
    disabled: bool,  # noqa: FBT001
) -> None:
    step = CreateRow(next_hops=tuple(hops), comment=comment, disabled=disabled)
    (row,) = dialect_v6.parse_rows([_as_row(dialect_v6.render(step, vip()).values)], vip())
    assert (row.next_hops, row.comment, row.disabled) == (tuple(hops), comment, disabled)
    assert row.distance == vip().distance


@given(_HOP, _COMMENT, st.booleans(), st.sampled_from(["main", "wan2"]))
def test_v7_parse_after_render_is_the_identity(
    hop: str,
    comment: str,
    disabled: bool,  # noqa: FBT001
    table: str,
) -> None:
    config = vip(table=table, check_gateway="ping")
    step = CreateRow(next_hops=(hop,), comment=comment, disabled=disabled, check_gateway="ping")
    (row,) = dialect_v7.parse_rows([_as_row(dialect_v7.render(step, config).values)], config)
    assert (row.next_hops, row.comment, row.disabled) == ((hop,), comment, disabled)
    assert (row.distance, row.check_gateway) == (config.distance, "ping")


def _as_row(values: Row) -> Row:
    return {".id": "*1", "static": "true", **values}
