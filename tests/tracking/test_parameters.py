"""Secrets in a flow's parameters, which would stand in its run's record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from expops_prefect.tracking.parameters import shown_parameters

PLAIN = "PLANTED"

SECRET_NAMES = """
key keys api_key apikey ApiKey APIKey X-Api-Key accesskey ssh_keys credential credentials creds secret
client_secret token access_token accesstoken authtoken tokens password db_password PASSWORD dbPassword pass_word
passwd passphrase pass_phrase pwd db_pwd db_pass pass auth http_auth basicAuth oauth OAuth2 authorization
Authorization proxy-authorization authentication cookie cookies set-cookie session session_id sessionid dsn
sentry_dsn bearer private private_pem jwt keyfile keypair
"""
PLAIN_NAMES = """
author authors co_author monkey donkey_count turkey hockey keyboard keyword keywords keypoints tokenizer passes
pass_rate compass first bypass_checks rate epochs n_features url path privately authentic obsession
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_names_of_secrets(name: str) -> None:
    assert shown_parameters({name: PLAIN}) == {name: "not shown"}
    assert PLAIN not in shown_parameters({"headers": {name: PLAIN}})["headers"]
    assert PLAIN not in shown_parameters({"pairs": [[name, PLAIN]]})["pairs"]
    assert PLAIN not in shown_parameters({"env": [{"name": name, "value": PLAIN}]})["env"]
    for argv in (["run", f"--{name}", PLAIN], [f"--{name}={PLAIN}"], [f"--{name} {PLAIN}"], [f"-{name}", PLAIN, "x"]):
        assert PLAIN not in shown_parameters({"argv": argv})["argv"], argv


@pytest.mark.parametrize("name", PLAIN_NAMES.split())
def test_names_of_others(name: str) -> None:
    for value in (PLAIN, {name: PLAIN}, [[name, PLAIN]], [f"--{name}", PLAIN], f"--{name} {PLAIN}", f"{name}={PLAIN}"):
        assert shown_parameters({name: value}) == {name: json.dumps(value)}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"postgresql://user:{PLAIN}@host/db", "postgresql://user:***@host/db"),
        (f"postgresql+psycopg://user:{PLAIN}@x@host:5432/db", "postgresql+psycopg://user:***@host:5432/db"),
        (f"postgresql://user:a/{PLAIN}@host/db", "postgresql://user:***@host/db"),
        (f"redis://:{PLAIN}@host", "redis://:***@host"),
        (f"https://{PLAIN * 3}@host/a/b", "https://***@host/a/b"),
        (f"see https://u:{PLAIN}@host and go", "see https://u:***@host and go"),
        (f"https://host/p?token={PLAIN}&x=1", "https://host/p?token=***&x=1"),
        (f"host=h password={PLAIN} user=u", "host=h password=*** user=u"),
        (f"Server=s;Pwd={PLAIN};Database=d", "Server=s;Pwd=***;Database=d"),
        (f"Bearer {PLAIN}", "Bearer ***"),
        (f"bearer  {PLAIN}", "bearer ***"),
        (f"Basic {PLAIN}=", "Basic ***"),
        (f"X-Api-Key: {PLAIN}", "X-Api-Key: ***"),
        (f"curl -H 'Authorization: Bearer {PLAIN}' x", None),
        (f"Authorization: Basic {PLAIN}", None),
        (f'{{"password": "a {PLAIN}"}}', '{"password": "***"}'),
        (f"password='{PLAIN}, {PLAIN}' user=u", "password='***' user=u"),
        (f"-----BEGIN RSA PRIVATE KEY-----\n{PLAIN}", None),
        ("https://host:8080/path@v1", "https://host:8080/path@v1"),
        ("ssh://git@host/a/b.git", "ssh://git@host/a/b.git"),
        ("a basic text about a bearer", "a basic text about a bearer"),
        ("C:\\keys and 12:30, a=b", "C:\\keys and 12:30, a=b"),
    ],
)
def test_texts_that_hold_secrets(value: str, shown: str | None) -> None:
    for parameter in (value, [value], {"a": [{"b": value}]}):
        text = shown_parameters({"x": parameter})["x"]
        assert PLAIN not in text
        found: Any = json.loads(text)
        while not isinstance(found, str):
            (found,) = found.values() if isinstance(found, dict) else found
        assert shown is None or found == shown


def test_long_texts_cost_little() -> None:
    for part in ("://a:", "a=", "-a ", "bearer ", "k" * 10):
        assert len(shown_parameters({"x": part * 500_000})["x"]) == 201
