"""A secret comes from exactly one place and shows itself nowhere."""

# ruff: noqa: E501 - the sentences stand here as people read them

import copy
import os
import pickle
import stat
from pathlib import Path

import pytest

from edged.config.load import load
from edged.config.secret import (
    Secret,
    SecretError,
    SecretKind,
    SecretSource,
    read_secret_file,
)
from edged.config.types import Config
from tests.unit.config.files import WELL, complaints, edited, load_text, remarks, sentences

CANARY = "c4n4ry-pa55"


def source_of(config: Config) -> SecretSource:
    return config.routers[0].password


def test_a_secret_hides_in_every_text() -> None:
    secret = Secret(CANARY)
    source = SecretSource(kind=SecretKind.INLINE, where="password", credential="x", value=secret)
    shown = f"{secret} {secret!r} {source} {source!r} {[secret]} {secret!s:>10}"
    assert CANARY not in shown
    assert secret.reveal() == CANARY


def test_a_secret_is_not_written_anywhere() -> None:
    with pytest.raises(TypeError, match="not written"):
        pickle.dumps(Secret(CANARY))
    with pytest.raises(TypeError, match="not written"):
        copy.copy(Secret(CANARY))


def test_a_file_loses_the_one_newline_of_the_editor(tmp_path: Path) -> None:
    (tmp_path / "pw").write_bytes(b" pass word \n\n")
    loaded = load_text(tmp_path, edited(('password_env = "HEX_PASSWORD"', 'password_file = "pw"')))
    source = source_of(loaded.config)
    assert (source.kind, source.where) == (SecretKind.FILE, str(tmp_path / "pw"))
    assert source.read().reveal() == " pass word \n"


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("old")
    loaded = load_text(tmp_path, edited(('password_env = "HEX_PASSWORD"', 'password_file = "pw"')))
    (tmp_path / "pw").write_text("rotated\n")
    assert source_of(loaded.config).read().reveal() == "rotated"


def test_a_variable_holds_it(tmp_path: Path) -> None:
    source = source_of(load_text(tmp_path, WELL, {"HEX_PASSWORD": CANARY}).config)
    assert (source.kind, source.where) == (SecretKind.ENVIRONMENT, "HEX_PASSWORD")
    assert source.read().reveal() == CANARY


def test_edgeds_own_variable_holds_it(tmp_path: Path) -> None:
    text = edited(('password_env = "HEX_PASSWORD"\n', ""))
    source = source_of(load_text(tmp_path, text, {"EDGED_ROUTER__PASSWORD": CANARY}).config)
    assert (source.kind, source.where) == (SecretKind.ENVIRONMENT, "EDGED_ROUTER__PASSWORD")
    assert source.read().reveal() == CANARY


def test_a_credential_is_named(tmp_path: Path) -> None:
    (tmp_path / "hex-pw").write_text(f"{CANARY}\n")
    text = edited(('password_env = "HEX_PASSWORD"', 'password_credential = "hex-pw"'))
    source = source_of(load_text(tmp_path, text, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).config)
    assert source.kind is SecretKind.CREDENTIAL
    assert source.read().reveal() == CANARY


@pytest.mark.parametrize("name", ["router-password", "router-hex-password"])
def test_a_credential_is_found_by_its_name_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(CANARY)
    text = edited(('password_env = "HEX_PASSWORD"\n', ""))
    source = source_of(load_text(tmp_path, text, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).config)
    assert source.kind is SecretKind.CREDENTIAL
    assert source.read().reveal() == CANARY


def test_of_two_routers_each_prefers_its_own_credential(tmp_path: Path) -> None:
    (tmp_path / "router-password").write_text("shared")
    (tmp_path / "router-hex2-password").write_text("own")
    router = WELL[: WELL.index("[[gateway]]")].replace('password_env = "HEX_PASSWORD"\n', "")
    second = router.replace('"hex"', '"hex2"').replace("172.30.1.1", "172.30.1.2")
    text = router + second + WELL[WELL.index("[[gateway]]") :]
    config = load_text(tmp_path, text, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).config
    assert [one.password.read().reveal() for one in config.routers] == ["shared", "own"]


def test_a_channels_url_is_found_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "channel-team-url").write_text("https://hooks.example.test/x\n")
    text = f'{WELL}[[channel]]\nname = "team"\ntype = "slack"\n'
    config = load_text(tmp_path, text, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).config
    assert config.channels[0].url is not None
    assert config.channels[0].url.read().reveal() == "https://hooks.example.test/x"


def test_a_credential_that_systemd_did_not_pass_names_the_unit(tmp_path: Path) -> None:
    text = edited(('password_env = "HEX_PASSWORD"', 'password_credential = "pw_credential"'))
    assert sentences(tmp_path, text) == [
        (
            'router[0].password_credential: the credential "pw_credential" cannot be read, because '
            "systemd passed none: add LoadCredential=pw_credential:PATH to the unit, or use password_file"
        )
    ]


def test_a_credential_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = edited(('password_env = "HEX_PASSWORD"', 'password_credential = "pw"'))
    assert sentences(tmp_path, text, {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}) == [
        (
            'router[0].password_credential: the file "/run/credentials/x/pw" does not exist: create it '
            "with the secret as its only line"
        )
    ]


def test_two_places_are_refused(tmp_path: Path) -> None:
    text = edited(("tls =", 'password = "x"\npassword_file = "/pw"\ntls ='))
    assert sentences(tmp_path, text) == [
        (
            "router[0].password: password_file, password_env and password are set, and a secret has "
            "exactly one place: keep one of them"
        )
    ]


def test_a_credential_beside_a_key_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "router-password").write_text("other")
    assert remarks(tmp_path, WELL, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == [
        (
            'router[0].password_env: is used although the credential "router-password" is there, too: '
            "keep one of them"
        )
    ]


def test_no_place_at_all_names_every_way(tmp_path: Path) -> None:
    assert sentences(tmp_path, edited(('password_env = "HEX_PASSWORD"\n', ""))) == [
        (
            "router[0].password: is missing: set one of password_file, password_env, "
            "password_credential or password, set the variable EDGED_ROUTER__PASSWORD, or pass the "
            'systemd credential "router-password"'
        )
    ]


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    assert sentences(tmp_path, edited(("HEX_PASSWORD", "OTHER"))) == [
        (
            "router[0].password_env: the environment variable OTHER is not set: set it where edged is "
            "started"
        )
    ]


def test_a_value_pasted_as_a_variables_name_is_not_shown(tmp_path: Path) -> None:
    text = complaints(tmp_path, edited(("HEX_PASSWORD", CANARY)))
    assert CANARY not in text
    assert "is not the name of an environment variable" in text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, 'the file "{}" does not exist: create it with the secret as its only line'),
        (b"\n", 'the file "{}" is empty: write the secret as its only line'),
        (b"\xff\xfe", 'the file "{}" is not UTF-8: write the secret as text'),
        (
            b"x" * 70_000,
            'the file "{}" is larger than 64 KiB, so it is hardly the secret: check the path',
        ),
    ],
    ids=["missing", "empty", "binary", "huge"],
)
def test_a_file_that_holds_no_secret_is_one_sentence(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "pw").write_bytes(content)
    text = edited(('password_env = "HEX_PASSWORD"', f'password_file = "{tmp_path}/pw"'))
    assert sentences(tmp_path, text) == [f"router[0].password_file: {sentence.format('pw')}"]


def test_a_pipe_that_nobody_fills_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pw")
    with pytest.raises(SecretError, match="is not a plain file: write the secret into one"):
        read_secret_file(str(tmp_path / "pw"), credential="router-password")


def test_a_directory_is_no_secret(tmp_path: Path) -> None:
    text = edited(('password_env = "HEX_PASSWORD"', 'password_file = "."'))
    (sentence,) = sentences(tmp_path, text)
    assert sentence.endswith("cannot be read (is a directory)")


def test_a_file_the_user_may_not_read_names_load_credential(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system call is made to refuse: root, as in containers, may read everything."""

    def refuse(_path: str, _flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    source = SecretSource(kind=SecretKind.FILE, where="/etc/edged/pw", credential="router-password")
    monkeypatch.setattr("edged.config.secret.os.geteuid", lambda: 998)
    monkeypatch.setattr("edged.config.secret.os.open", refuse)
    with pytest.raises(SecretError) as caught:
        source.read()
    assert str(caught.value) == (
        'the file "/etc/edged/pw" cannot be read by this user (uid 998): let systemd pass it with '
        "LoadCredential=router-password:/etc/edged/pw and leave this key out, or give the file to "
        "that user"
    )


def test_a_url_that_is_none_is_told_without_showing_it(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(CANARY)
    text = complaints(tmp_path, f'{WELL}[[channel]]\nname = "t"\ntype = "slack"\nurl_file = "url"')
    assert "the text found there is not a URL: it has to begin with https:// or http://" in text
    assert CANARY not in text


def test_a_password_in_a_file_that_others_read_is_a_warning(tmp_path: Path) -> None:
    text = edited(('password_env = "HEX_PASSWORD"', f'password = "{CANARY}"'))
    assert remarks(tmp_path, text) == []  # mode 0600
    file = tmp_path / "edged.toml"
    file.chmod(0o644)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    (warning,) = load(file, {}).warnings
    assert warning.render(severity="warning").splitlines() == [
        (
            f"{file}:5:1: warning: router[0].password: stands in a file that others can read (mode "
            "0644): chmod 600 it, or move the secret to a file of its own with password_file"
        ),
        "      5 | password = ***",
    ]


def test_without_its_secrets_a_file_can_still_be_checked(tmp_path: Path) -> None:
    text = edited(("HEX_PASSWORD", "OTHER"))
    source = source_of(load_text(tmp_path, text, secrets=False).config)
    with pytest.raises(SecretError, match="the environment variable OTHER is not set"):
        source.read()


MISTAKES = {
    "misspelt key": f'pasword = "{CANARY}"',
    "wrong table": f'secret = "{CANARY}"',
    "no text": f"password = {{a = '{CANARY}'}}",
    "not quoted": f"password = {CANARY}",
    "not quoted, misspelt": f"passwd = {CANARY}",
    "control character": f'password = "{CANARY}\\u0001"',
    "pasted as a credential's name": f'password_credential = "{CANARY} x"',
    "strange key": f'webhook = "https://hooks.example.test/{CANARY}"',
    "user in a URL": f'address = "http://user:{CANARY}@172.30.1.1"',
}


@pytest.mark.parametrize("line", MISTAKES.values(), ids=MISTAKES)
def test_no_mistake_shows_a_secret(tmp_path: Path, line: str) -> None:
    text = edited(('address = "172.30.1.1"\n', f"{line}\n"))
    assert CANARY not in complaints(tmp_path, text)


@pytest.mark.parametrize(
    "name", ["EDGED_ROUTER__PASSWRD", "EDGED_ROUTER__PASSWORD", "EDGED_ROUTER__0__PASSWORD"]
)
def test_no_variable_shows_a_secret(tmp_path: Path, name: str) -> None:
    assert CANARY not in complaints(tmp_path, WELL, {name: CANARY})


def test_a_password_found_by_name_elsewhere_is_no_fault_without_secrets(tmp_path: Path) -> None:
    """The unit passes it; whoever checks the file beforehand has no credentials."""
    text = edited(('password_env = "HEX_PASSWORD"\n', ""))
    config = load_text(tmp_path, text, secrets=False).config
    assert source_of(config).credential == "router-password"
