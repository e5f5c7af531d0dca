"""Lineage holds digests and versions, and no secrets."""

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.registry import lineage
from phreg.registry.lineage import git_state, without_secrets

SECRET = "xyzzy"


def make(config: dict) -> dict:
    return lineage(
        config,
        student_digest="s1",
        target_specs={"denoised": "t1"},
        train_shards={"photos-000000": "c0"},
        validation_shards={"photos-000005": "c5"},
        benchmark="b1",
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"s3://key:{SECRET}@bucket/a.tar", "s3://***@bucket/a.tar"),
        (f"https://host/a.tar?X-Amz-Signature={SECRET}&b=1", "https://host/a.tar?***"),
        (f"https://host/a.tar?{SECRET}", "https://host/a.tar?***"),
        (f"simplecache::s3://key:{SECRET}@bucket/a", "simplecache::s3://***@bucket/a"),
        (f"s3://bucket/a?versionId={SECRET}", "s3://bucket/a?***"),
        (f"http://user:pa/{SECRET}@host/x-{{0..3}}.tar", "http://***@host/x-{0..3}.tar"),
        (f"s3://key:{SECRET}/a@bucket/{{a,b}}-*[0-9]?.tar", "s3://***@bucket/{a,b}-*[0-9]?.tar"),
        ("s3://bucket/year=202?/month=*/a.tar", "s3://bucket/year=202?/month=*/a.tar"),
        ("s3://bucket/photos-00000?.tar", "s3://bucket/photos-00000?.tar"),
        ("s3://bucket/photos-{000000..000005}.tar", "s3://bucket/photos-{000000..000005}.tar"),
        ("data/photos@2x/a?b=1.tar", "data/photos@2x/a?b=1.tar"),
        ("user@example", "user@example"),
    ],
)
def test_credentials_in_urls_are_hidden_and_nothing_else(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@settings(max_examples=50, deadline=None)
@given(st.text("abc@:%-", max_size=8), st.text("ab=&?", max_size=8))
def test_no_secret_survives(user: str, query: str) -> None:
    url = f"https://{user}:{SECRET}@host/path?{query}{SECRET}"
    assert SECRET not in json.dumps(without_secrets({"a": [{url: (url, 1)}], "b": url}))


def test_lineage_has_what_it_takes_to_make_it_again_and_no_secret() -> None:
    config = {"name": "demo", "images": [f"s3://key:{SECRET}@bucket/{{0..3}}.tar"], "seed": 0}
    found = make(config)
    text = json.dumps(found, allow_nan=False)
    assert SECRET not in text
    assert platform.node() not in text or platform.node() in json.dumps(config)
    assert str(Path.home()) not in text
    assert os.getcwd() not in text
    assert found["config"]["seed"] == 0
    assert found["target_specs"] == {"denoised": "t1"}
    assert found["train_shards"] == {"photos-000000": "c0"}
    assert found["packages"]["torch"] == metadata.version("torch")
    assert {"phreg", "timm", "ray", "zarr", "numpy"} <= set(found["packages"])


def test_the_commit_and_whether_it_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state() is None
    git("init")
    assert git_state() is None, "no commit yet"
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    assert git_state() == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "a").write_text("2")
    assert git_state() == {"commit": git("rev-parse", "HEAD"), "dirty": True}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state() is None, "no git"
