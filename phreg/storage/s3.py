"""How S3 is asked: how long an answer may take, and what is tried again.

botocore's standard mode tries again after 5xx, throttling (503 SlowDown), resets and timeouts, with
exponential backoff and jitter, and never after a refusal (403). A server that answers nothing is given up
after `ATTEMPTS` times `read_timeout` and the waits between: about 90 seconds. What a user gives wins: a
folder's options, fsspec's own configuration (`FSSPEC_S3`), and AWS_RETRY_MODE and AWS_MAX_ATTEMPTS; but
not retry_mode and max_attempts of a profile in ~/.aws/config, which ours take the place of.

botocore's checksums beside the request's own (CRC32 as a trailer) are for AWS: other servers are known to
refuse them, and are sent none unless the user asks for them (AWS_REQUEST_CHECKSUM_CALCULATION,
AWS_RESPONSE_CHECKSUM_VALIDATION). What is stored has digests of our own.

A server on loopback is asked through no proxy.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import fsspec.config

from phreg.loopback import is_loopback

PROTOCOLS = ("s3", "s3a")
ATTEMPTS = 5
TIMEOUTS = {"connect_timeout": 5, "read_timeout": 15}  # seconds; reading counts anew with each packet


def s3_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for s3fs: ours, where the user gives none."""
    given: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        given |= fsspec.config.conf.get(protocol, {})
    given |= options
    config = (
        TIMEOUTS | {"retries": _retries()} | _for_endpoint(given) | dict(given.get("config_kwargs") or {})
    )
    listings = {} if "use_listings_cache" in given else {"use_listings_cache": False}
    return listings | dict(options) | {"config_kwargs": config}


def leave_retries_to_botocore(fs: Any) -> None:
    """s3fs would try again what botocore gave up, five times five, and twice that where a body is read.

    What botocore cannot try again, a body that ends early, `persistently` does.
    """
    fs.retries = 1


def _retries() -> dict[str, Any]:
    by_environment = {
        "AWS_RETRY_MODE": ("mode", "standard"),
        "AWS_MAX_ATTEMPTS": ("total_max_attempts", ATTEMPTS),
    }
    return dict(setting for name, setting in by_environment.items() if not os.environ.get(name))


def _for_endpoint(given: Mapping[str, Any]) -> dict[str, Any]:
    endpoint = given.get("endpoint_url") or (given.get("client_kwargs") or {}).get("endpoint_url")
    endpoint = str(
        endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    )
    if not endpoint or re.search(r"[.]amazonaws[.]com([.]cn)?(:\d+)?/*$", endpoint):
        return {}
    proxies: dict[str, Any] = {"proxies": {}} if is_loopback(endpoint) else {}
    names = ("request_checksum_calculation", "response_checksum_validation")
    checksums = {name: "when_required" for name in names if not os.environ.get(f"AWS_{name.upper()}")}
    return proxies | checksums
