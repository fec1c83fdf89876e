"""An object store in an S3 bucket (AWS or any server that knows conditional writes: SeaweedFS, MinIO, Ceph,
R2…).

Credentials come from the environment or boto3's own configuration, never from the URL. boto3 is imported on
first use, so that opening a store costs nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from storage.errors import ObjectNotFound, StoreError
from storage.objects import checked_key, checked_prefix

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig

__all__ = ["S3Store"]

_PART_BYTES = 8 << 20
_CONFLICT_TRIES = 5  # S3 answers 409 while another conditional write of the key is under way


class S3Store:
    """Objects in ``bucket`` under ``prefix``; ``endpoint_url`` and ``region`` only where they are not the
    default.
    """

    def __init__(
        self, bucket: str, prefix: str = "", *, endpoint_url: str | None = None, region: str | None = None
    ) -> None:
        if not bucket:
            raise StoreError("an S3 store needs a bucket: s3://bucket/prefix")
        self.bucket = bucket
        self.prefix = checked_key(prefix.strip("/")) + "/" if prefix.strip("/") else ""
        self.endpoint_url = endpoint_url
        self.region = region

    @classmethod
    def from_url(cls, url: str) -> S3Store:
        """From ``s3://bucket/prefix?endpoint_url=…&region=…``; raises StoreError on anything else in the
        URL.
        """
        parts = urlsplit(url)
        options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        unknown = sorted(set(options) - {"endpoint_url", "region"})
        if unknown:
            raise StoreError(f"unknown option {unknown[0]!r} in {url!r}: use endpoint_url and region")
        if "@" in parts.netloc:
            raise StoreError(
                "an S3 URL must not hold credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return cls(parts.netloc, unquote(parts.path), **options)

    @property
    def url(self) -> str:
        options = {"endpoint_url": self.endpoint_url, "region": self.region}
        query = urlencode({key: value for key, value in options.items() if value})
        return f"s3://{self.bucket}/{quote(self.prefix.rstrip('/'))}" + (f"?{query}" if query else "")

    def put(self, key: str, data: bytes) -> None:
        name = self._name(key)
        with self._explained(key):
            self._client.put_object(Bucket=self.bucket, Key=name, Body=data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        from botocore.exceptions import ClientError

        name = self._name(key)
        for _ in range(_CONFLICT_TRIES):
            with self._explained(key):
                try:
                    self._client.put_object(Bucket=self.bucket, Key=name, Body=data, IfNoneMatch="*")
                except ClientError as error:
                    code = _code(error)
                    if code in ("PreconditionFailed", "412"):
                        return False
                    if code not in ("ConditionalRequestConflict", "409"):
                        raise
                else:
                    return True
        raise StoreError(
            f"could not write {self._shown(key)}: other writers kept it busy; run the command again"
        )

    def put_file(self, key: str, path: Path) -> None:
        name = self._name(key)
        with self._explained(key):
            self._client.upload_file(str(path), self.bucket, name, Config=self._transfer)

    def get(self, key: str) -> bytes:
        name = self._name(key)
        with self._explained(key):
            data: bytes = self._client.get_object(Bucket=self.bucket, Key=name)["Body"].read()
            return data

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except ObjectNotFound:
            return False
        return True

    def size(self, key: str) -> int:
        name = self._name(key)
        with self._explained(key):
            return int(self._client.head_object(Bucket=self.bucket, Key=name)["ContentLength"])

    def list(self, prefix: str) -> Iterator[str]:
        start = self.prefix + checked_prefix(prefix)
        with self._explained(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start)
            names = [str(item["Key"]) for page in pages for item in page.get("Contents", [])]
        for name in sorted(names):  # some servers sort folder by folder, not by the whole key
            if not name.endswith("/"):  # "folders" that some consoles make
                yield name.removeprefix(self.prefix)

    def delete(self, key: str) -> None:
        name = self._name(key)
        with self._explained(key):
            self._client.delete_object(Bucket=self.bucket, Key=name)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """A temporary file with the object's bytes, deleted when the context ends."""
        name = self._name(key)
        with tempfile.TemporaryDirectory(prefix="engine-s3-") as folder:
            path = Path(folder) / Path(name).name
            with self._explained(key):
                self._client.download_file(self.bucket, name, str(path), Config=self._transfer)
            yield path

    def _name(self, key: str) -> str:
        return self.prefix + checked_key(key)

    def _shown(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{key}"

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        retries: Any = {"max_attempts": 4, "mode": "standard"}
        config = Config(retries=retries, connect_timeout=10, read_timeout=60)
        try:
            return boto3.session.Session().client(
                "s3", endpoint_url=self.endpoint_url, region_name=self.region, config=config
            )
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"cannot use the S3 settings of {self.url}: {error}") from error

    @cached_property
    def _transfer(self) -> TransferConfig:
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4
        )

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turns boto3's errors into the store's, saying which object and what to do."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, NoCredentialsError

        try:
            yield
        except ClientError as error:
            raise self._refused(key, error) from error
        except NoCredentialsError as error:
            raise StoreError(
                f"no S3 credentials for {self._shown(key)}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
                "or configure a profile"
            ) from error
        except ConnectionError as error:
            where = self.endpoint_url or "AWS"
            raise StoreError(
                f"cannot reach {where} for {self._shown(key)}: check endpoint_url and the network ({error})"
            ) from error
        except (BotoCoreError, Boto3Error, OSError) as error:
            raise StoreError(f"S3 transfer of {self._shown(key)} failed: {error}") from error

    def _refused(self, key: str, error: Any) -> StoreError:
        code = _code(error)
        if code == "NoSuchBucket":
            return StoreError(
                f"the bucket {self.bucket!r} does not exist: create it, or correct the store's URL"
            )
        if code in ("NoSuchKey", "404", "NotFound"):
            return ObjectNotFound(f"nothing is stored at {self._shown(key)}")
        if code in (
            "AccessDenied",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "403",
            "Forbidden",
            "ExpiredToken",
        ):
            return StoreError(
                f"S3 refused {self._shown(key)} ({code}): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
                "the rights of that identity on the bucket"
            )
        return StoreError(f"S3 could not serve {self._shown(key)}: {error}")


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
