"""Reasons and states in Korean: the same keys as the English tables of `words`.

No particle stands after a value. Data only.
"""

from collections.abc import Mapping
from typing import Final

KEPT_KO: Final[Mapping[str, str]] = {
    "no_witness": "그사이 응답한 노드가 없어 edged 쪽 문제일 수 있음",
    "floor": "빼면 경로에 {floor}대 미만이 남음",
    "last": "응답하는 마지막 노드",
    "second_opinion": "{router}에서는 응답 있음, edged 쪽 경로가 의심됨",
    "overload": "다른 노드도 느림: 빼면 부하가 더 몰림",
    "blind": "edged가 조금 전 앞을 못 봄, 새 프로브로 판단",
    "stale": "판정이 오래됨: 다시 확인 후 조치",
}

FROZEN_KO: Final[Mapping[str, str]] = {
    "paused": "사람이 edged를 일시 정지함",
    "warm_up": "edged가 막 시작했거나 깨어남: 먼저 살펴봄",
    "observing": "관찰 모드: 할 일을 말만 하고 쓰지 않음",
    "not_adopted": "{router}에 표시 edged:{vip} 붙은 행이 아직 없음",
    "foreign": "{router}에 edged 표시 없는 고정 행이 함께 있음",
    "unknown_next_hop": "{router}에 설정에 없는 next hop 있음, 그대로 둠",
    "human_edit": "{router} 행을 사람이 바꿈, edged는 손대지 않음",
    "contested": "{router} 행을 다른 누군가가 바꾸거나 표시가 중복됨",
    "uncertain": "{router} 행의 현재 모습을 먼저 읽어야 함",
    "not_writer": "다른 edged가 리스를 쥐고 쓰는 중",
    "router_lost": "{router} 연결 불가",
    "router_upgraded": "{router} RouterOS 주 버전이 바뀌어 돌아옴",
}

WAITS_KO: Final[Mapping[str, str]] = {
    "rise": "프로브 연속 {rise}회 성공, {stable} 무실패 필요",
    "hold_down": "다시 응답함, 대기 시간이 지나면 복귀",
    "entry_gate": "BGP 세션이 아직 올라오지 않음",
    "pace": "노드는 1초 간격으로 하나씩 복귀",
    "human_hold": "{router}에서 사람이 행을 비활성화함",
}

PROBE_KO: Final[Mapping[str, str]] = {
    "refused": "서버는 응답, :{port} 포트가 닫힘",
    "connect_timeout": "연결 시도에 아무 응답 없음",
    "unreachable": "서버에 도달 불가(ARP 또는 ICMP)",
    "tls_timeout": "연결은 받지만 TLS 핸드셰이크가 멈춤",
    "tls_reset": "TLS 핸드셰이크 중 연결을 끊음",
    "tls_alert": "TLS 핸드셰이크를 경고로 거부",
    "http_timeout": "TLS는 되지만 요청에 응답 없음",
    "http_closed": "응답 대신 연결을 닫음",
    "http_invalid": "응답이 HTTP가 아님",
    "local_error": "edged 호스트가 프로브를 보내지 못함",
    "stalled": "edged 호스트가 느려 판단 불가",
    "cancelled": "프로브 취소됨",
}

DEATH_KO: Final[Mapping[str, str]] = {
    "refused": ":{port} 연결 거부. 서버는 응답, Envoy만 죽음",
    "silent": "패킷이 전혀 돌아오지 않음: 전원·케이블·스위치·커널",
    "ill": "연결은 받지만 서비스 안 됨: {detail}",
}

STATE_KO: Final[Mapping[str, str]] = {
    "UP": "응답함, 이상 없음",
    "DEGRADED": "서비스 중이나 이상 있음: {detail}",
    "DOWN": "서비스 안 됨: {detail}",
    "WAIT": "다시 응답함, 복귀 대기 중",
    "DRAIN": "경로에서 빼 달라는 요청을 받음{detail}",
    "UNKNOWN": "아직 판정 전: 프로브가 부족함",
}

KEPT_LAST_DOWN_KO: Final = "다른 노드도 응답 없음, 경로는 비우지 않음"

BRIEF_KO: Final[Mapping[str, str]] = {
    "refused": ":{port} 닫힘",
    "silent": "응답 패킷 없음",
    "ill": "서비스 안 됨",
    "connect_timeout": "SYN 응답 없음",
    "unreachable": "서버 도달 불가",
    "tls_timeout": "TLS 멈춤",
    "tls_reset": "TLS 끊김",
    "tls_alert": "TLS 거부",
    "http_timeout": "HTTP 응답 없음",
    "http_closed": "응답 없이 닫음",
    "http_invalid": "HTTP 아님",
    "backend_error": "이 노드만 5xx",
    "bgp_down": "BGP 세션 끊김",
    "not_ready": "노드 NotReady",
}
