"""From raw objects to facts: the samples, and everything that is not as documented."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.selector import parse_selector
from edged.kube.gateway import advertises, covers, parse_gateway, parse_service
from edged.kube.nodes import DrainRules, drain_mark, parse_node, parse_pod
from edged.kube.sensors import ClusterFacts, Known, Sensors
from edged.kube.vips import VipEyes, VipLook, VipSettings, WarningBook
from tests.support.kube_objects import node, pod, sample

EVERYTHING = DrainRules(cordon=True, labels=("example.test/maintenance",))
MARKS_ONLY = DrainRules()


def marks_of(rules: DrainRules) -> dict[str, str | None]:
    found = {}
    for raw in sample("nodes-states.yaml"):
        parsed = parse_node(raw)
        assert parsed is not None
        found[parsed.name] = drain_mark(parsed, rules, ignore_exclude=False)
    return found


def test_every_sample_state_has_its_mark() -> None:
    found = marks_of(EVERYTHING)
    assert set(found.values()) >= {
        "cordoned",
        None,
        "node is shutting down",
        "label node.kubernetes.io/exclude-from-external-load-balancers",
        "taint ToBeDeletedByClusterAutoscaler",
        "taint node.kubernetes.io/out-of-service",
        "annotation weave.works/kured-reboot-in-progress",
    }


def test_a_cordon_counts_only_where_it_is_asked_for() -> None:
    assert "cordoned" not in marks_of(MARKS_ONLY).values()
    off = marks_of(DrainRules(marks=False))
    assert set(off.values()) == {None}


def test_nodes_with_two_addresses_show_one_of_each_family() -> None:
    third = parse_node(sample("nodes-ready.yaml")[2])
    assert third is not None
    assert third.address_like(ipv6=False) == "172.30.1.82"
    assert third.address_like(ipv6=True) == "fd00:30:1::82"


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (pod("a", "k8s-01"), True),
        (pod("a", "k8s-01", daemonset="other"), False),
        (pod("a", "k8s-01", host_network=False), False),
        (pod("a", ""), False),
    ],
    ids=["ours", "another DaemonSet", "not on the host's network", "not scheduled"],
)
def test_only_envoys_pods_count(raw: dict[str, Any], kept: bool) -> None:  # noqa: FBT001 - a table
    assert (parse_pod(raw, "cilium-envoy") is not None) is kept


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("a=1", "x"),
        ("a==1", "x"),
        ("a!=1", "yz"),
        ("a", "xy"),
        ("!a", "z"),
        ("a in (1,2)", "xy"),
        ("a notin (1, 3), a", "y"),
        ("a=1,b=2", ""),
    ],
)
def test_selectors_mean_what_kubectl_means(words: str, names: str) -> None:
    found = {"x": {"a": "1"}, "y": {"a": "2"}, "z": {"b": "2"}}
    selector = parse_selector(words)
    assert "".join(name for name in found if selector.matches(found[name])) == names


@pytest.mark.parametrize("words", ["", "a in 1", "a=b=c", "=b", "a b"])
def test_what_is_no_selector_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        parse_selector(words)


def test_the_gateway_samples_say_what_is_wrong() -> None:
    def parsed(name: str) -> tuple[str, list[str]]:
        gateway = parse_gateway(sample(name)[0])
        return gateway.unprogrammed, [one.unresolved for one in gateway.listeners]

    assert parsed("gateway-programmed-true.yaml") == ("", ["", ""])
    assert parsed("gateway-programmed-false.yaml")[0].startswith("AddressNotAssigned")
    assert parsed("gateway-listener-broken.yaml")[1][1].startswith("RefNotPermitted")


def test_an_unprogrammed_gateway_is_judged_by_what_its_port_does_and_not_before_that_is_known() -> (
    None
):
    eyes = VipEyes(
        VipSettings(
            name="web",
            address="172.30.1.7",
            server_name="app.example.test",
            port=443,
            service=None,
            gateway="kube-system/cilium-gateway",
        )
    )
    gateway = parse_gateway(sample("gateway-programmed-false.yaml")[0])
    book = WarningBook()

    def told(*, serving: bool | None) -> list[str]:
        look = VipLook(gateway=gateway, gateway_known=True, serving=serving)
        found = [one for one in eyes.warnings(look) if one.code.startswith("unprogrammed")]
        return [str(one.get("detail")) for one in book.take(found, 0)]

    assert told(serving=None) == []
    (harmless,) = told(serving=True)
    assert "although :443 serves" in harmless
    assert told(serving=True) == []
    (down,) = told(serving=False)
    assert "and no gateway serves" in down


def test_the_service_samples() -> None:
    assigned, pending, _ = map(parse_service, sample("service-gateway-lb.yaml"))
    assert (assigned.addresses, assigned.local, assigned.pending) == (("172.30.1.7",), False, "")
    assert (pending.addresses, pending.local) == ((), True)
    assert "no enabled CiliumLoadBalancerIPPools" in pending.pending


@pytest.mark.parametrize("name", ["cilium-bgp-v2-config.yaml", "cilium-bgp-v1-policy.yaml"])
def test_both_generations_advertise_the_sample_service(name: str) -> None:
    service = parse_service(sample("service-gateway-lb.yaml")[0])
    other = parse_service(sample("service-gateway-lb.yaml")[2])
    assert any(advertises(raw, service) for raw in sample(name))
    assert not any(advertises(raw, other) for raw in sample(name))


@pytest.mark.parametrize(
    ("hostname", "taken"),
    [
        ("", True),
        ("*.example.test", True),
        ("edged-probe.example.test", True),
        ("*.probe.example.test", False),
        ("example.test", False),
        ("*.other.test", False),
    ],
)
def test_listeners_take_the_names_below_theirs(
    hostname: str,
    taken: bool,  # noqa: FBT001 - a table
) -> None:
    assert covers(hostname, "Edged-Probe.example.test") is taken
    assert not covers("*.example.test", "example.test")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "status", "name", "conditions", "type", "addresses",
                 "listeners", "loadBalancer", "ingress", "taints", "ownerReferences", "labels"],
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), ANY))
def test_no_shape_of_an_object_raises(raw: dict[str, Any]) -> None:
    json.dumps(raw)
    parse_node(raw)
    parse_pod(raw, "cilium-envoy")
    advertises(raw, parse_service(raw))
    parse_gateway(raw)


# --- joining ------------------------------------------------------------------------------------

CONFIGURED = [Known(name="node1", address="172.30.1.20", next_hop="172.30.1.20")]


def test_a_node_joins_by_address_or_name_and_no_other_is_touched() -> None:
    sensors = Sensors(rules=MARKS_ONLY, daemonset="kube-system/cilium-envoy", selector=None)
    nodes = {
        name: found
        for name, address in {"k8s-01": "172.30.1.20", "k8s-09": "172.30.1.99"}.items()
        if (found := parse_node(node(name, address))) is not None
    }
    facts = sensors.look(CONFIGURED, nodes, {}, nodes_known=True, pods_known=False)
    assert {name: one.node for name, one in facts.gateways.items()} == {"node1": "k8s-01"}
    assert facts.discovered == ()


def test_before_the_first_list_nothing_has_vanished() -> None:
    sensors = Sensors(
        rules=MARKS_ONLY, daemonset="a/b", selector=parse_selector("kubernetes.io/os=linux")
    )
    sensors.remember([Known(name="k8s-05", address="10.0.0.5", next_hop="10.0.0.5", node="k8s-05")])
    facts = sensors.look(CONFIGURED, {}, {}, nodes_known=False, pods_known=False)
    assert facts.gateways == {}
    assert [one.name for one in facts.discovered] == ["k8s-05"]


def test_a_node_with_another_address_leaves_before_it_is_discovered_anew() -> None:
    sensors = Sensors(rules=MARKS_ONLY, daemonset="a/b", selector=parse_selector("!none"))

    def look(address: str) -> ClusterFacts:
        found = parse_node(node("k8s-05", address))
        assert found is not None
        return sensors.look([], {"k8s-05": found}, {}, nodes_known=True, pods_known=False)

    look("10.0.0.5")
    facts = look("10.0.0.6")
    assert facts.gateways["k8s-05"].vanished
    assert facts.discovered[0].address == "10.0.0.5"
    sensors.forget("k8s-05")
    facts = look("10.0.0.6")
    assert facts.discovered[0].address == "10.0.0.6"


def test_a_replaced_pod_ends_the_announcement() -> None:
    sensors = Sensors(rules=MARKS_ONLY, daemonset="a/b", selector=None)
    found = parse_node(node("k8s-01"))
    assert found is not None

    def going(*pods: dict[str, Any]) -> bool:
        parsed = {raw["metadata"]["name"]: parse_pod(raw, "cilium-envoy") for raw in pods}
        known = {name: one for name, one in parsed.items() if one is not None}
        facts = sensors.look(
            CONFIGURED, {"k8s-01": found}, known, nodes_known=True, pods_known=True
        )
        return facts.gateways["node1"].going is not None

    assert not going(pod("a", "k8s-01"))
    assert going(pod("a", "k8s-01", grace_s=1))
    assert not going(pod("a", "k8s-01", grace_s=1), pod("b", "k8s-01", phase="Pending"))
    assert not going(pod("a", "k8s-01", grace_s=1, phase="Pending"))
