"""What to do about a store's error, and whether the same command would only get the same answer again."""

import errno
from typing import NamedTuple

from phreg.storage.answer import http_status, is_kind, refuses, region, store_code


class Advice(NamedTuple):
    """`lasting`: trying again, without a change, is of no use."""

    words: str
    lasting: bool = True


AGAIN = "then run the same command again"
_KEPT = "run the same command again; what is committed is kept"
_GIVE = (
    f"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with a profile of ~/.aws, {AGAIN}; on "
    "a cluster its nodes need them too"
)
_RENEW = (
    "renew them in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or in the "
    f"profile that gives them, {AGAIN}; what is committed is kept"
)
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "InvalidToken")

_CHECKSUMS = (
    "the server does not know the checksums that botocore sends: set AWS_REQUEST_CHECKSUM_CALCULATION and "
    "AWS_RESPONSE_CHECKSUM_VALIDATION to when_required, on a cluster on its nodes too; or a proxy alters "
    "what it passes on"
)
_KMS = (
    "the bucket's encryption key refuses: let these credentials use it (kms:GenerateDataKey, kms:Decrypt), "
    "or enable it"
)
_QUOTA = (
    f"the store is full, or a quota is reached: free space or raise it, {AGAIN}; what is committed is kept"
)
_LOCKED = (
    "the object is locked (object lock, retention or a legal hold) and cannot be written or removed: choose "
    "a folder without it, or have it lifted"
)
_ARCHIVED = "the object is archived: restore it first, or move it to a class that can be read at once"
_ACCOUNT = "the store refuses this account as a whole: see to it in the store's console"
_KEYS = (
    "the secret does not belong to the access key: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the "
    "profile), that AWS_ENDPOINT_URL is the server they are of, and that no proxy alters requests"
)
_OPERATION = (
    "the server does not know what it was asked for, and will not know it next time: give AWS_ENDPOINT_URL "
    "of an S3 server that does, or another place"
)
_LONG = "choose a shorter path"
_LARGE = "the object is larger than the store takes: make smaller shards"
_BUCKET = "check the bucket's name: 3 to 63 of lower-case letters, digits, . and -"

_WORDS = {
    "XAmzContentSHA256Mismatch XAmzContentChecksumMismatch": _CHECKSUMS,
    "InvalidDigest MissingContentLength 411": _CHECKSUMS,
    "SignatureDoesNotMatch InvalidAccessKeyId InvalidSecurity": _KEYS,
    "NotImplemented 501 MethodNotAllowed 405 UnsupportedOperation": _OPERATION,
    "QuotaExceeded StorageQuotaExceeded ServiceQuotaExceededException OverQuota": _QUOTA,
    "XMinioStorageFull XMinioAdminBucketQuotaExceeded InsufficientStorage 507": _QUOTA,
    "ObjectLocked InvalidWriteToLockedObject retentionPolicyNotMet": _LOCKED,
    "AllAccessDisabled AccountProblem NotSignedUp InvalidPayer UserSuspended": _ACCOUNT,
    "InvalidObjectState": _ARCHIVED,
    "KeyTooLongError KeyTooLong XMinioInvalidObjectName": _LONG,
    "EntityTooLarge": _LARGE,
    "InvalidBucketName": _BUCKET,
}
_BY_CODE = {code: words for codes, words in _WORDS.items() for code in codes.split()}
_ELSEWHERE = (
    *("301", "307", "PermanentRedirect", "TemporaryRedirect", "Redirect"),
    *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
)


def advice(error: Exception, url: str) -> Advice:
    """What to do. The more special is asked first: a code of the store, then its kind, then the network."""
    found = (
        _credentials(error) or _answered(error) or _configured(error) or _on_disk(error) or _network(error)
    )
    if found is None and _is_denied(error):
        found = _denied(url)
    return found or _by_status(error) or Advice(_KEPT, lasting=False)


def _credentials(error: Exception) -> Advice | None:
    """Credentials that are past their time, or not there: they may be renewed while a run goes on."""
    if store_code(error) in _EXPIRED:
        return Advice(f"the credentials are past their time: {_RENEW}", lasting=False)
    if is_kind(error, "NoCredentialsError", "NoAuthTokenError"):
        return Advice(f"no credentials were found: {_GIVE}")
    if is_kind(error, "PartialCredentialsError"):
        return Advice(f"only a part of the credentials was found: {_GIVE}")
    if is_kind(error, "ProfileNotFound"):
        return Advice(
            f"AWS_PROFILE names a profile that is in neither ~/.aws/config nor ~/.aws/credentials: mend or "
            f"unset it, {AGAIN}; on a cluster its nodes need the profile too"
        )
    if is_kind(error, "SSOError", "LoginError", "TokenRetrievalError", "UnauthorizedSSOTokenError"):
        return Advice(f"sign in again (`aws sso login` or `aws login`, for the profile in use), {AGAIN}")
    if is_kind(error, "CredentialRetrievalError", "MetadataRetrievalError", "RefreshWithMFAUnsupportedError"):
        return Advice(f"what the profile names to get credentials from gives none: mend it, or {_GIVE}")
    return None


def _answered(error: Exception) -> Advice | None:
    code, text = store_code(error), str(error).lower()
    if code == "RequestTimeTooSkewed":
        return Advice(f"set this machine's clock, {AGAIN}")
    if code in _ELSEWHERE:
        there = region(error)
        where = f"AWS_DEFAULT_REGION={there}" if there else "AWS_DEFAULT_REGION to the bucket's region"
        return Advice(
            f"the bucket is in another region: set {where}, and leave AWS_ENDPOINT_URL out or give that "
            "region's"
        )
    if code.startswith("KMS.") or (_is_denied(error) and "kms:" in text):
        return Advice(_KMS)
    if _is_denied(error) and any(word in text for word in ("object lock", "worm protected", "retention")):
        return Advice(_LOCKED)
    return Advice(_BY_CODE[code]) if code in _BY_CODE else None


def _configured(error: Exception) -> Advice | None:
    """What botocore refuses before it asks anybody."""
    text = str(error)
    if text.startswith("Invalid endpoint") or is_kind(error, "InvalidEndpointConfigurationError"):
        return Advice("write the server's address (AWS_ENDPOINT_URL) as http://HOST:PORT or https://HOST")
    if "Invalid bucket name" in text or is_kind(error, "InvalidDNSNameError"):
        return Advice(_BUCKET)
    if is_kind(error, "ConfigParseError", "ConfigNotFound"):
        return Advice(f"mend that file (~/.aws/config, or what AWS_CONFIG_FILE names), {AGAIN}")
    passing = (
        "ConnectionError",
        "HTTPClientError",
        "IncompleteReadError",
        "CapacityNotAvailableError",
        "ChecksumError",
    )
    if is_kind(error, "BotoCoreError") and not is_kind(error, *passing):
        return Advice(
            f"mend the setting that this names (AWS_... in the environment, ~/.aws, FSSPEC_S3), {AGAIN}"
        )
    return None


def _on_disk(error: Exception) -> Advice | None:
    if not isinstance(error, OSError) or error.__cause__ is not None:
        return None
    if isinstance(error, NotADirectoryError):
        return Advice("choose another folder, or move the file that is in its way")
    words = {
        errno.ENOSPC: f"free disk space, {AGAIN}",
        errno.EDQUOT: f"the disk quota is reached: free space or raise it, {AGAIN}",
        errno.EROFS: "it is mounted for reading only: choose another folder",
        errno.ENAMETOOLONG: _LONG,
        errno.EFBIG: _LARGE,
        errno.EMFILE: f"raise the number of files a process may have open (`ulimit -n`), {AGAIN}",
        errno.ELOOP: "a link there leads to itself: mend it",
    }.get(error.errno or 0)
    return (
        Advice(words, lasting=error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE))
        if words
        else None
    )


def _network(error: Exception) -> Advice | None:
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or is_kind(
        error, "SSLError", "ClientConnectorCertificateError"
    ):
        return Advice(
            "the server's certificate is not trusted here: give the file of its authority as AWS_CA_BUNDLE "
            "(for other stores SSL_CERT_FILE), and check that AWS_ENDPOINT_URL says http or https as it "
            f"should, {AGAIN}"
        )
    name = type(error).__name__
    if isinstance(error, ConnectionError | TimeoutError) or "Connect" in name or "Timeout" in name:
        return Advice(f"check the network and AWS_ENDPOINT_URL, {AGAIN}", lasting=False)
    return None


def _is_denied(error: Exception) -> bool:
    named = "Credential" in type(error).__name__
    return (
        isinstance(error, PermissionError)
        or named
        or store_code(error) == "400"
        or http_status(error) in (401, 403)
    )


def _denied(url: str) -> Advice:
    if is_path(url):
        return Advice(
            "give this user permission to read and write there, or choose another folder", lasting=False
        )
    return Advice(
        f"give credentials that may do this; if they are temporary, they may be past their time: {_RENEW}",
        lasting=False,
    )


def _by_status(error: Exception) -> Advice | None:
    """By HTTP a refusal (4xx) is the client's to mend; of the server's own failures some are for good."""
    if refuses(error):
        return Advice(
            "the store refuses this, and will again: mend what its answer names (settings, path or store)"
        )
    return Advice(_QUOTA) if http_status(error) == 507 else None


def is_path(url: str) -> bool:
    return "://" not in url or url.startswith(("file:", "local:"))
