"""The API server of the tests is found where its makers say, and only if it is ours."""

from pathlib import Path

import pytest

from tests.support import parts


def binaries(folder: Path) -> Path:
    for name in ("kube-apiserver", "etcd"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def test_another_folder_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    found, reason = parts._api_server()
    assert found is None
    assert "KUBEBUILDER_ASSETS" in reason
    binaries(tmp_path)
    assert parts._api_server() == (str(tmp_path), "")


def test_what_was_built_from_other_sources_is_not_used(tmp_path: Path) -> None:
    sources = Path(__file__).parents[2] / "kube" / "apiserver"
    current = parts._sources(sources)
    written = tmp_path / "sources.sha256"
    written.write_text("".join(f"{digest}  {name}\n" for name, digest in current.items()))
    assert parts._built_from(tmp_path) == current
    written.write_text(written.read_text().replace("go.mod", "go.other"))
    assert parts._built_from(tmp_path) != current
    assert parts._built_from(tmp_path / "absent") == {}


def test_the_manifest_of_what_was_built_names_every_source() -> None:
    sources = Path(__file__).parents[2] / "kube" / "apiserver"
    kept = {str(p.relative_to(sources)) for p in sources.rglob("*") if p.is_file()}
    assert kept == set(parts._sources(sources))
