"""What an S3 server refuses for good is told with what to change; only what may pass is told to run again."""

import pytest
import s3fs

from phreg.errors import AccessDeniedError, PermanentStorageError, StorageError, is_permanent_error
from phreg.storage import Folder
from tests.faults.s3_faults import answer, only_if
from tests.faults.s3_proxy import Action, Exchange, Reply, S3Proxy

BARE = "what to do: run the same command again"
FOR_GOOD = [
    (501, "NotImplemented", "will not know it next time"),
    (405, "MethodNotAllowed", "will not know it next time"),
    (400, "InvalidArgument", "refuses this, and will again"),
    (400, "InvalidRequest", "refuses this, and will again"),
    (400, "SomeNewCode", "refuses this, and will again"),
    (
        400,
        "XAmzContentSHA256Mismatch",
        "AWS_REQUEST_CHECKSUM_CALCULATION and AWS_RESPONSE.* to when_required",
    ),
    (411, "MissingContentLength", "to when_required"),
    (403, "SignatureDoesNotMatch", "secret does not belong to the access key"),
    (403, "InvalidAccessKeyId", "AWS_ENDPOINT_URL is the server they are of"),
    (403, "RequestTimeTooSkewed", "set this machine's clock"),
    (400, "AuthorizationHeaderMalformed", "another region: set AWS_DEFAULT_REGION to the bucket's region"),
    (400, "KMS.DisabledException", "encryption key refuses"),
    (403, "QuotaExceeded", "a quota is reached"),
    (507, "XMinioStorageFull", "the store is full"),
    (400, "ObjectLocked", "object is locked"),
    (403, "InvalidObjectState", "restore it first"),
    (403, "AllAccessDisabled", "this account"),
    (400, "KeyTooLongError", "a shorter path"),
    (400, "EntityTooLarge", "smaller shards"),
]
MAY_PASS = [
    (500, "InternalError", BARE),
    (503, "SlowDown", BARE),
    (409, "OperationAborted", BARE),
    (429, "TooManyRequests", BARE),
    (400, "ExpiredToken", "past their time: renew them"),
    (403, "AccessDenied", "give credentials that may do this"),
]


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore tries again what may pass; here once is enough."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()


def refused(folder: Folder, proxy: S3Proxy, act: Action) -> StorageError:
    proxy.fault(act, "PUT", "/a$", None)
    with pytest.raises(StorageError) as caught:
        folder.write("a", b"data")
    return caught.value


@pytest.mark.parametrize(("status", "code", "words"), FOR_GOOD)
def test_for_good(proxied_folder: Folder, s3_proxy: S3Proxy, status: int, code: str, words: str) -> None:
    error = refused(proxied_folder, s3_proxy, answer(status, code))
    assert isinstance(error, PermanentStorageError)
    assert is_permanent_error(error)  # so no stage tries it again
    assert code in error.found
    assert BARE not in str(error)
    with pytest.raises(StorageError, match=words):
        raise error


@pytest.mark.parametrize(("status", "code", "words"), MAY_PASS)
def test_what_may_pass(proxied_folder: Folder, s3_proxy: S3Proxy, status: int, code: str, words: str) -> None:
    error = refused(proxied_folder, s3_proxy, answer(status, code))
    assert not isinstance(error, PermanentStorageError)
    assert isinstance(error, AccessDeniedError) == (code == "AccessDenied")
    with pytest.raises(StorageError, match=words):
        raise error


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("User: x is not authorized to perform: kms:GenerateDataKey on resource", "encryption key refuses"),
        ("Access Denied because object protected by object lock.", "object is locked"),
    ],
)
def test_why_access_is_denied(proxied_folder: Folder, s3_proxy: S3Proxy, message: str, words: str) -> None:
    error = refused(proxied_folder, s3_proxy, _answer(403, "AccessDenied", message))
    assert words in error.remedy


def test_the_region_is_named(proxied_folder: Folder, s3_proxy: S3Proxy) -> None:
    extra = "<Region>eu-west-7</Region>"
    error = refused(proxied_folder, s3_proxy, _answer(400, "AuthorizationHeaderMalformed", "wrong", extra))
    assert "set AWS_DEFAULT_REGION=eu-west-7" in error.remedy


def test_a_server_that_refuses_new_checksums_is_sent_none(
    proxied_folder: Folder, s3_proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no server of AWS; and a user who asks for them all the same is told."""
    fails = only_if("x-amz-sdk-checksum-algorithm", answer(400, "XAmzContentSHA256Mismatch"))
    s3_proxy.fault(fails, "PUT", "", None)
    proxied_folder.write("a", b"data")
    assert proxied_folder.create("b", b"data")
    assert proxied_folder.read("a") == b"data"
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(PermanentStorageError, match="to when_required"):
        proxied_folder.write("a", b"data")


def _answer(status: int, code: str, message: str, extra: str = "") -> Action:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>".encode()

    def act(exchange: Exchange) -> None:
        exchange.send(Reply(status, [("Content-Type", "application/xml")], body))

    return act
