"""Real servers for tests, started on free ports in a temporary folder and ended by their process id."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

START_S = 60
S3_IDENTITY = {"accessKey": "test-key", "secretKey": "test-secret"}


def free_ports(count: int) -> list[int]:
    """Ports nobody uses now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def find_weed() -> str | None:
    """The SeaweedFS binary beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@contextmanager
def weed_server(folder: Path, binary: str) -> Iterator[str]:
    """An S3 server with one identity; yields its endpoint URL."""
    identity = {"name": "test", "credentials": [S3_IDENTITY], "actions": ["Admin", "Read", "Write", "List"]}
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    names = ["master.port", "volume.port", "filer.port", "s3.port"]
    names += [f"{name}.grpc" for name in names] + ["s3.port.iceberg"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [binary, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-s3.config={config}", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            wait_for_s3(process, f"http://127.0.0.1:{ports['s3.port']}", folder / "weed.log")
            yield f"http://127.0.0.1:{ports['s3.port']}"
        finally:
            process.kill()
            process.wait()


def wait_for_s3(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    """Returns once a bucket can be made and written to."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    keys = {"aws_access_key_id": S3_IDENTITY["accessKey"], "aws_secret_access_key": S3_IDENTITY["secretKey"]}
    once = Config(retries={"max_attempts": 0}, connect_timeout=1, read_timeout=5)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=once, **keys)
    deadline = time.monotonic() + START_S
    while process.poll() is None:
        try:
            client.create_bucket(Bucket="engine")
            client.put_object(Bucket="engine", Key="ready", Body=b"")
            client.delete_object(Bucket="engine", Key="ready")
            return
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    raise RuntimeError(f"the S3 server did not start: {log.read_text(errors='replace')[-2000:]}")


def find_postgres() -> Path | None:
    """The folder with PostgreSQL's server programs."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


@contextmanager
def postgres_server(folder: Path, programs: Path) -> Iterator[str]:
    """A PostgreSQL server without passwords; yields an SQLAlchemy URL."""
    user = "postgres" if os.getuid() == 0 else None  # the server refuses to run as root
    if user:
        shutil.chown(folder, user)
    data, (port,) = folder / "data", free_ports(1)
    started = {
        "user": user,
        "check": True,
        "cwd": folder,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.STDOUT,
    }
    subprocess.run([programs / "initdb", "-D", data, "-U", "engine", "-A", "trust", "--no-sync"], **started)
    options = f"-c port={port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
    control = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    subprocess.run([*control, "-o", options, "start"], **started)
    try:
        yield f"postgresql+psycopg://engine@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **started)
