"""The page's own words, English and Korean side by side, and times as people write them.

Korean sentences put no particle after a value: which one fits depends on how the value is read
aloud. Nothing here decides or knows a time.
"""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from types import MappingProxyType
from typing import Final

from edged.web.event_words import Known, spell_duration
from edged.web.watch import wall_at

LANGUAGES: Final = ("en", "ko")

WORDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        # names of things
        "page": ("edged: status", "edged 상태"),
        "skip": ("Skip to the nodes", "노드 표로 건너뛰기"),
        "level_fine": ("Fine", "정상"),
        "level_degraded": ("Degraded", "저하"),
        "level_critical": ("Critical", "심각"),
        "mode_enforce": ("enforce", "적용"),
        "mode_observe": ("observe: writes nothing", "관찰: 쓰지 않음"),
        "on_host": ("on {host}, up {uptime}", "{host}, 가동 {uptime}"),
        "as_of": ("As of", "기준 시각"),
        # headline
        "all_fine": (
            "{vip}: {inside} of {all} nodes in the route, as it should be",
            "{vip}: 노드 {all}대 중 {inside}대 경로에 있음 · 정상",
        ),
        "router_lost": (
            "{router}: router API unreachable · the route cannot be changed",
            "{router}: 라우터 API 연결 불가 · 경로 변경 불가",
        ),
        "none_answers": (
            "{vip}: no node answers edged · route NOT changed (frozen)",
            "{vip}: 모든 노드 응답 없음 · 경로는 그대로 둠(동결)",
        ),
        "not_read": (
            "{vip}: the route on {router} has not been read yet",
            "{vip}: {router} 경로를 아직 읽지 못함",
        ),
        "warming_up": (
            "{vip}: edged has just started and looks before it acts",
            "{vip}: edged 시작 직후, 먼저 살펴보는 중",
        ),
        "not_adopted": (
            "{vip}: not adopted · edged writes nothing here",
            "{vip}: 아직 인수 전 · edged는 아무것도 쓰지 않음",
        ),
        "held": (
            "{vip}: route left as it is · {why}",
            "{vip}: 경로를 그대로 둠 · {why}",
        ),
        "out": (
            "{vip}: {names} out of the route · {inside} of {all} left",
            "{vip}: {names} 경로에서 제외 · {all}대 중 {inside}대 남음",
        ),
        "should_leave": (
            "{vip}: {names} DOWN, still in the route · {inside} of {all} in",
            "{vip}: {names} 응답 없음, 아직 경로에 있음 · {all}대 중 {inside}대",
        ),
        "held_dead": (
            "{vip}: {names} DOWN, still in the route · {why}",
            "{vip}: {names} 응답 없음, 아직 경로에 있음 · {why}",
        ),
        "drained": (
            "{vip}: {names} drained · {inside} of {all} left",
            "{vip}: {names} 드레인 완료 · {all}대 중 {inside}대 남음",
        ),
        "draining": (
            "{vip}: {names} asked out, still in the route",
            "{vip}: {names} 드레인 요청됨, 아직 경로에 있음",
        ),
        "waits": (
            "{vip}: {names} answers again and waits · {inside} of {all} in the route",
            "{vip}: {names} 정상화, 복귀 대기 중 · {all}대 중 {inside}대 경로에 있음",
        ),
        "degraded": (
            "{vip}: {names} degraded · {inside} of {all} in the route",
            "{vip}: {names} 상태 저하 · {all}대 중 {inside}대 경로에 있음",
        ),
        "out_of_step": (
            "{vip}: the route is not yet what it should be",
            "{vip}: 경로 반영 진행 중",
        ),
        "observing": ("[observe] ", "[관찰] "),
        "alerts_open": ("Alerts open: {count}.", "미해결 알림 {count}건."),
        "alerts_see": ("See them with", "확인:"),
        # the lines under it
        "why": ("Why", "원인"),
        "did": ("edged did", "조치"),
        "impact": ("What it means", "영향"),
        "you": ("You", "할 일"),
        "did_removed": (
            "took {name} out of the route on {router}",
            "{router} 경로에서 {name} 제외",
        ),
        "did_in": (" {took} after the first sign", ", 첫 징후 후 {took}"),
        "did_read_back": (", read back as written", ", 반영 확인"),
        "did_unverified": (", not read back yet", ", 반영 확인 전"),
        "did_plain": ("{name} is out of the route", "{name} 경로에서 제외된 상태"),
        "did_lost": (
            "keeps trying to connect; the route stays as it was read last: {names}",
            "계속 재연결 시도 중. 마지막으로 읽은 경로 유지: {names}",
        ),
        "did_kept": ("left {name} in: {why}", "{name} 그대로 둠: {why}"),
        "did_nothing": ("nothing: {why}", "없음: {why}"),
        "did_would": (
            "nothing, for it observes only; it would write: {wanted}",
            "없음(관찰 모드). 적용 모드라면 경로: {wanted}",
        ),
        "did_writing": ("is about to write: {wanted}", "곧 반영 예정: {wanted}"),
        "impact_left": ("new connections → {names}", "새 연결 → {names}"),
        "impact_cut": (
            "connections through {names} are cut",
            "{names} 연결 끊김",
        ),
        "impact_stays": ("the route stays: {names}", "경로 유지: {names}"),
        "impact_dead_in": (
            "a part of new connections may go to {names}, which does not answer",
            "새 연결 일부가 응답 없는 {names} 쪽으로 갈 수 있음",
        ),
        "impact_lost": (
            "traffic goes on if {router} itself is alive; a node that dies now stays in",
            "{router} 자체가 살아 있으면 통신은 계속됨. 단, 지금 죽는 노드는 제외 못 함",
        ),
        "impact_none": ("the route is empty on {router}", "{router} 경로에 노드 없음"),
        "you_nothing": ("nothing", "없음"),
        "you_returns": (
            "nothing now. It returns by itself after {probes} good probes, {stable} clean, a wait",
            "지금은 없음. 정상 프로브 {probes}회, {stable} 무실패, 대기 시간 뒤 자동 복귀",
        ),
        "you_waits": (
            "nothing. It returns by itself {until}",
            "없음. {until} 자동 복귀",
        ),
        "you_soon": ("within moments", "곧"),
        "you_at": ("at {time}", "{time}에"),
        "you_type": ("type", "입력:"),
        "you_look": ("to see more, type", "자세히 보려면 입력:"),
        "you_undrain": ("when you are done, type", "끝나면 입력:"),
        "you_none_answers": (
            "look at Envoy, switch and power now; edged's own host, too, if the VIP still answers",
            "Envoy·스위치·전원을 지금 확인. VIP 응답이 있으면 edged 쪽 호스트 점검",
        ),
        "you_router": (
            "ping {router}. Alive: look at its API service and firewall. Dead: at the router",
            "{router} ping 확인. 응답: API 서비스·방화벽 / 무응답: 라우터 점검",
        ),
        "drain_by": ("asked out by {who}", "{who} 요청으로 드레인"),
        "until": (" until {time}", ", {time}까지"),
        # the route
        "route": ("Route: wanted and shown", "경로: 목표와 실제"),
        "router": ("Router", "라우터"),
        "wanted": ("Wanted", "목표"),
        "shown": ("On the router", "라우터에 실제"),
        "in_step": ("In step", "일치"),
        "yes": ("yes", "예"),
        "no": ("no", "아니요"),
        "held_back": ("no: edged may not write", "아니요: 쓰기 보류"),
        "step_unknown": ("unknown: not connected", "알 수 없음: 연결 안 됨"),
        "step_not_ours": ("not adopted yet", "인수 전"),
        "step_unread": ("not read yet", "아직 읽지 못함"),
        "read": ("read {age} ago", "{age} 전에 읽음"),
        "never_read": ("never read", "읽은 적 없음"),
        "read_stale": (
            "read {age} ago: what stands here may be old",
            "{age} 전에 읽음: 지금과 다를 수 있음",
        ),
        "connected": ("connected", "연결됨"),
        "connected_for": ("connected {age}", "{age} 동안 연결"),
        "disconnected": ("NOT connected", "연결 안 됨"),
        "disconnected_for": ("NOT connected for {age}", "{age} 동안 연결 안 됨"),
        "unverified_tls": ("its identity is not verified", "신원 미확인 연결"),
        "writes": ("writes today: {today}", "오늘 쓰기 {today}회"),
        "nobody": ("nobody", "없음"),
        "goes_out": ("should not be in", "빠져야 함"),
        "comes_in": ("should be in", "들어가야 함"),
        # the nodes
        "nodes": ("Nodes", "노드"),
        "node": ("Node", "노드"),
        "state": ("State", "상태"),
        "in_route": ("Route", "경로"),
        "in": ("in", "포함"),
        "not_in": ("out", "제외"),
        "partly": ("only on {routers}", "{routers}에만 포함"),
        "kept": ("kept in", "유지"),
        "probe": ("Probe", "프로브"),
        "probe_hint": ("median / 99 %", "중앙값 / 99 %"),
        "never": ("none yet", "아직 없음"),
        "since": ("Since", "지속"),
        "reason": ("Reason", "이유"),
        "history": ("Last 10 minutes", "최근 10분"),
        "bgp_up": ("up", "연결"),
        "bgp_down": ("down", "끊김"),
        "bgp_unknown": ("unknown", "알 수 없음"),
        "bars": (
            "{name}, last 10 minutes: {passed} probes passed, {failed} failed",
            "{name}, 최근 10분: 성공 {passed}회, 실패 {failed}회",
        ),
        "bars_none": ("{name}: no probes yet", "{name}: 아직 프로브 없음"),
        "more_nodes": (
            "and {count} more, all UP and in the route",
            "그 밖에 {count}대 모두 정상, 경로에 포함",
        ),
        "state_UP": ("UP", "정상"),
        "state_DEGRADED": ("DEGRADED", "저하"),
        "state_DOWN": ("DOWN", "응답 없음"),
        "state_WAIT": ("WAIT", "복귀 대기"),
        "state_DRAIN": ("DRAIN", "드레인"),
        "state_UNKNOWN": ("UNKNOWN", "판정 전"),
        "state_off": ("edged not running", "edged 꺼짐"),
        "state_frozen": ("frozen", "동결"),
        "state_free": ("kept by edged", "edged가 관리"),
        "not_configured": ("no longer configured", "설정에서 빠짐"),
        # the day
        "day": ("Last 24 hours", "최근 24시간"),
        "lane": ("{name}: {parts}", "{name}: {parts}"),
        "lane_part": ("{state} {from} to {to}", "{from}~{to} {state}"),
        "lane_more": ("and {count} earlier", "그 밖에 {count}회"),
        "lane_all": ("{state} all the time", "계속 {state}"),
        "lane_writes": ("{count} changes of the route", "경로 변경 {count}회"),
        "now": ("now", "지금"),
        "route_of": ("{vip}, route", "{vip} 경로"),
        "mark": ("{time} {router}: {what}", "{time} {router}: {what}"),
        "mark_out": ("{names} out", "{names} 제외"),
        "mark_in": ("{names} in", "{names} 포함"),
        "legend_mark": ("change of the route", "경로 변경"),
        # events
        "events": ("Last events", "최근 이벤트"),
        "no_events": ("Nothing has happened yet.", "아직 이벤트 없음."),
        "time": ("Time", "시각"),
        "what": ("What happened", "내용"),
        "severity_info": ("info", "정보"),
        "severity_warning": ("warning", "주의"),
        "severity_critical": ("critical", "심각"),
        "age": ("{age} ago", "{age} 전"),
        # the foot
        "about": ("About this edged", "edged 정보"),
        "version": ("Version", "버전"),
        "mode": ("Mode", "모드"),
        "config": ("Configuration", "설정 파일"),
        "alerts": ("Alerts", "알림"),
        "alerts_are": ("{open} open, {pending} unsent", "미해결 {open}건, 미전송 {pending}건"),
        "switch": ("Dead man's switch", "외부 감시"),
        "switch_none": ("none: nobody hears if edged dies", "없음: edged가 죽어도 알림 없음"),
        "kubernetes_none": ("not configured", "설정 안 함"),
        "history_kept": ("History", "기록"),
        "history_on_disk": ("kept on disk", "디스크에 보관"),
        "writer": ("Writer", "쓰기 담당"),
        "paused": ("Paused", "일시 정지"),
        "paused_by": ("by {who}{until}", "{who}{until}"),
        "local_only": (
            "Read-only. To act, use the command edged on {host}.",
            "읽기 전용. 조작은 {host}의 edged 명령으로.",
        ),
        # staleness, said by the script
        "stale": (
            "No news from edged since {time}: what stands below is old. Is {host} up?",
            "{time} 이후 edged 소식 없음: 아래 내용은 옛 정보. {host} 확인 필요",
        ),
        "stale_title": ("OLD", "옛 정보"),
        "live": ("live", "실시간"),
        "not_live": ("not live: reload for news", "실시간 아님: 새로 고침 필요"),
        # refusals
        "sign_fine": ("✓", "✓"),
        "sign_degraded": ("!", "!"),
        "sign_critical": ("✗", "✗"),
    }
)
"""Key: English, Korean."""


class Say:
    """Words in one language and times in one zone."""

    __slots__ = ("_column", "language", "zone")

    def __init__(self, language: str, zone: tzinfo) -> None:
        self.language = language if language in LANGUAGES else LANGUAGES[0]
        self.zone = zone
        self._column = LANGUAGES.index(self.language)

    def __call__(self, key: str, /, **about: object) -> str:
        """Return the words for a key with its places filled."""
        words = WORDS[key][self._column]
        return words.format_map(Known(about)) if about else words

    def duration(self, duration_ms: int) -> str:
        """Write a duration."""
        return spell_duration(duration_ms, self.language)

    def ago(self, duration_ms: int) -> str:
        """Write an age: below a second it is nothing that a person has to read."""
        return self.duration(max(1_000, duration_ms // 1_000 * 1_000))

    def clock(self, wall_ms: int, *, seconds: bool = True) -> str:
        """Write a time of day."""
        return f"{self._local(wall_ms):{'%H:%M:%S' if seconds else '%H:%M'}}"

    def moment(self, wall_ms: int, now_ms: int) -> str:
        """Write a time of day, with its date where that is not today."""
        local, now = self._local(wall_ms), self._local(now_ms)
        if local.date() == now.date():
            return f"{local:%H:%M:%S}"
        if self.language == "ko":
            return f"{local.month}월 {local.day}일 {local:%H:%M:%S}"
        return f"{local.day} {local:%b %H:%M:%S}"

    def day(self, wall_ms: int) -> str:
        """Write a time with its day and zone."""
        local = self._local(wall_ms)
        if self.language == "ko":
            days = "월화수목금토일"
            day = f"{local.month}월 {local.day}일({days[local.weekday()]})"
            return f"{day} {local:%H:%M:%S %Z}"
        return f"{local:%a} {local.day} {local:%b %H:%M:%S %Z}"

    def names(self, names: list[str]) -> str:
        """Join names; of many only the first are said."""
        if not names:
            return self("nobody")
        shown = ", ".join(names[:NAMES_MAX])
        return f"{shown} +{len(names) - NAMES_MAX}" if len(names) > NAMES_MAX else shown

    def _local(self, wall_ms: int) -> datetime:
        return wall_at(wall_ms).astimezone(self.zone)


NAMES_MAX: Final = 6
