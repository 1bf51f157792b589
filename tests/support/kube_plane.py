"""A real kube-apiserver and etcd on loopback, from the binaries of tests/kube/apiserver.

There is no controller and no kubelet: what changes, changes because a test changed it.
"""

import base64
import ctypes
import json
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.kube_fake import kubeconfig_text

START_S: Final = 60.0
STOP_S: Final = 20.0
ADMIN: Final = "admin-" + secrets.token_hex(8)
USERS: Final = {name: f"{name}-{secrets.token_hex(8)}" for name in ("edged", "nobody")}

Obj = dict[str, Any]

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


class Refused(Exception):
    """The API server answered with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"HTTP {code}: {text}")
        self.code = code


class ControlPlane:
    """One etcd and one API server, restartable on the same ports."""

    def __init__(self, binaries: Path, folder: Path, *, api_flags: Sequence[str] = ()) -> None:
        self._binaries = binaries
        self._folder = folder
        self._api_flags = tuple(api_flags)
        self._etcd_port, self._peer_port, self.port = _free_ports(3)
        self._etcd_url = f"http://127.0.0.1:{self._etcd_port}"
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = folder / "certs" / "apiserver.crt"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    # --- life

    def start(self) -> None:
        """Start both and wait until they are ready."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._start_etcd()
        self.start_api()

    def stop(self) -> None:
        """Stop both and remove the folder."""
        self.stop_api()
        self._end("etcd", signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start_api(self) -> None:
        """Start the API server, or start it again on the same port."""
        key = self._folder / "accounts.key"
        if not key.exists():
            key.write_text(_p256_key())
        tokens = self._folder / "tokens.csv"
        lines = [f'{ADMIN},admin,admin,"system:masters"']
        lines += [f'{token},{name},{name},"tests"' for name, token in USERS.items()]
        tokens.write_text("\n".join(lines) + "\n")
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers={self._etcd_url}",
            f"--cert-dir={self._folder / 'certs'}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            "--authorization-mode=RBAC",
            # No controller makes service accounts here, or takes the not-ready taint off a node.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            # An open watch holds SIGTERM up for a minute otherwise.
            "--shutdown-watch-termination-grace-period=1s",
            f"--service-account-issuer={self.url}/",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={tokens}",
            *self._api_flags,
        )
        self._wait("kube-apiserver", lambda: self._fetch(f"{self.url}/readyz") == b"ok")

    def stop_api(self, number: int = signal.SIGTERM) -> None:
        """End the API server; etcd keeps what it knows."""
        self._end("kube-apiserver", number)

    def freeze_api(self, *, frozen: bool) -> None:
        """Have the API server hang, or go on."""
        self._running["kube-apiserver"].send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def _start_etcd(self) -> None:
        peer = f"http://127.0.0.1:{self._peer_port}"
        self._spawn(
            "etcd",
            "--name=tests",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=tests={peer}",
            "--unsafe-no-fsync",
            "--heartbeat-interval=20",  # with the next: it elects itself at once
            "--election-timeout=100",
            "--watch-progress-notify-interval=1s",  # bookmarks for kinds in which nothing happens
            "--log-level=warn",
        )
        self._wait("etcd", lambda: b'"true"' in self._fetch(f"{self._etcd_url}/health"))

    def _spawn(self, name: str, *flags: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [self._binaries / name, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread holds a lock it needs
            )

    def _end(self, name: str, number: int) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while True:
            if self._running[name].poll() is not None:
                raise AssertionError(f"{name} ended:\n{self.log(name)}")
            try:
                if ready():
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is not ready:\n{self.log(name)}")
            time.sleep(0.05)

    def log(self, name: str) -> str:
        """Return the last lines of a log."""
        path = self._folder / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-20:])

    def _fetch(self, url: str) -> bytes:
        context = ssl.create_default_context(cafile=self.ca) if url.startswith("https") else None
        with urllib.request.urlopen(url, timeout=5, context=context) as reply:
            return bytes(reply.read())

    def compact(self) -> None:
        """Have etcd forget its history, as the API server asks it to every five minutes."""
        status = self._etcd("maintenance/status", {})
        revision = int(status["header"]["revision"])
        self._etcd("kv/compaction", {"revision": revision, "physical": True})

    def _etcd(self, path: str, body: Obj) -> Obj:
        request = urllib.request.Request(f"{self._etcd_url}/v3/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as reply:
            return dict(json.load(reply))

    # --- what an administrator does

    def call(
        self,
        method: str,
        path: str,
        body: Obj | None = None,
        *,
        content_type: str = "application/json",
    ) -> Obj:
        """Do one request as the administrator; raises `Refused`."""
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {ADMIN}", "Content-Type": content_type},
            method=method,
        )
        context = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as reply:
                return dict(json.load(reply))
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from error

    def get(self, path: str) -> Obj:
        """Read an object."""
        return self.call("GET", path)

    def create(self, path: str, raw: Obj) -> Obj:
        """Create an object, with its status where the server would drop it."""
        body = json.loads(json.dumps(raw))
        for key in ("resourceVersion", "uid", "creationTimestamp", "generation"):
            body["metadata"].pop(key, None)
        made = self.call("POST", path, body)
        if "status" in raw and made.get("status") != raw["status"]:
            self.patch(f"{path}/{raw['metadata']['name']}/status", {"status": raw["status"]})
        return made

    def patch(self, path: str, body: Obj) -> Obj:
        """Merge fields into an object."""
        return self.call("PATCH", path, body, content_type="application/merge-patch+json")

    def delete(self, path: str, *, grace_s: int | None = None) -> None:
        """Delete an object; with a grace a Pod stays, terminating."""
        body = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        self.call("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **body})

    def clear(self, path: str) -> None:
        """Delete everything in a collection that tests fill."""
        for raw in self.get(path)["items"]:
            metadata = raw["metadata"]
            if metadata.get("finalizers"):
                self.patch(f"{path}/{metadata['name']}", {"metadata": {"finalizers": None}})
            self.delete(f"{path}/{metadata['name']}", grace_s=0)

    def apply_manifest(self, text: str) -> None:
        """Create every object of a manifest of namespaces and RBAC."""
        for raw in yaml.safe_load_all(text):
            try:
                self.call("POST", _collection_of(raw), raw)
            except Refused as error:
                if error.code != 409:
                    raise

    def add_crd(self, path: Path, served: str) -> None:
        """Install a CRD and wait until it answers at `served`."""
        try:
            self.get(served)
        except Refused:
            self.call(
                "POST",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                yaml.safe_load(path.read_text(encoding="utf-8")),
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.get(served)
                return
            except Refused as error:
                if error.code not in {404, 429, 503} or time.monotonic() > deadline:
                    raise  # others mean that it is still being set up
            time.sleep(0.1)

    def remove_crd(self, name: str) -> None:
        """Remove a CRD with its objects, if it is there, and wait until it is gone."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self.delete(path)
            except Refused as error:
                if error.code == 404:
                    return
            time.sleep(0.1)
        raise AssertionError(f"{name} is still there")

    def kubeconfig(self, folder: Path, token: str = ADMIN) -> Path:
        """Write a kubeconfig."""
        path = folder / "kubeconfig"
        path.write_text(kubeconfig_text(self.url, self.ca, token))
        return path


_PLURALS: Final = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
}


def _collection_of(raw: Obj) -> str:
    return _PLURALS[raw["kind"]].format(namespace=raw["metadata"].get("namespace", ""))


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in made:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in made]


def _p256_key() -> str:
    """Return a P-256 key in SEC 1 form; the public half is optional there (RFC 5915)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    secret = (secrets.randbelow(order - 1) + 1).to_bytes(32, "big")
    der = bytes.fromhex("30310201010420") + secret + bytes.fromhex("a00a06082a8648ce3d030107")
    body = base64.b64encode(der).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----\n"


@contextmanager
def control_plane(
    binaries: str, folder: Path, *, api_flags: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """Run a control plane."""
    plane = ControlPlane(Path(binaries), folder, api_flags=api_flags)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
