#!/usr/bin/env python3
"""The tracking server of compose.yaml: MLflow with accounts, on PostgreSQL and an S3 object store.

`serve` prepares database, accounts and bucket and then becomes `mlflow server`; `add-user NAME` makes a
further account and asks for its password. All settings come from the environment, see `compose.yaml`; secrets
stay out of the image and of the command line.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, create_engine, text

if TYPE_CHECKING:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

CONFIG = Path(tempfile.gettempdir()) / "basic_auth.ini"
BUCKET_SECONDS = 60
PASSWORD_LENGTH = 12  # MLflow's own bound, which it tells with a traceback


def main() -> None:
    """Run the subcommand that the command line names."""
    parser = argparse.ArgumentParser(prog="tracking-server", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="prepare everything and become mlflow server")
    add_user = commands.add_parser("add-user", help="make an account, or give one a new password")
    add_user.add_argument("name")
    arguments = parser.parse_args()
    database = _database()
    _write_auth_config(database)
    if arguments.command == "add-user":
        _set_account(_accounts(database), arguments.name, _ask_password(arguments.name), is_admin=False)
    else:
        serve(database)


def serve(database: str) -> None:
    """Make the accounts and the bucket and replace this process by MLflow's server.

    Args:
        database: SQLAlchemy URI of the database that holds runs and accounts.
    """
    _check_encoding(database)
    accounts = _accounts(database)
    _set_account(accounts, "admin", _required("ADMIN_PASSWORD"), is_admin=True)
    _set_account(accounts, _required("TRAINER_USERNAME"), _required("TRAINER_PASSWORD"), is_admin=False)
    bucket = os.environ.get("S3_BUCKET", "mlflow")
    _make_bucket(bucket)
    for name in ("ADMIN_PASSWORD", "TRAINER_PASSWORD", "POSTGRES_PASSWORD"):
        del os.environ[name]  # MLflow needs them no more
    os.environ |= {
        "MLFLOW_BACKEND_STORE_URI": database,  # not on the command line, which every process can read
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{bucket}/artifacts",
    }
    command = ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--serve-artifacts"]
    command += ["--app-name", "basic-auth", "--workers", os.environ.get("WORKERS", "2")]
    os.execvp(command[0], command)


def _database() -> str:
    url = URL.create(
        "postgresql+psycopg2",
        username=os.environ.get("POSTGRES_USER", "mlflow"),
        password=_required("POSTGRES_PASSWORD"),
        host=os.environ.get("POSTGRES_HOST", "db"),
        database=os.environ.get("POSTGRES_DB", "mlflow"),
    )
    return url.render_as_string(hide_password=False)


def _check_encoding(database: str) -> None:
    """Refuse a database that cannot hold every text: a run with one such tag would never get past it."""
    engine = create_engine(database)
    with engine.connect() as connection:
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    engine.dispose()
    if encoding != "UTF8":
        sys.exit(f"The database holds {encoding}; make one with ENCODING 'UTF8' TEMPLATE template0.")


def _write_auth_config(database: str) -> None:
    """Write the file that MLflow's basic-auth app reads; it holds the database's password, hence mode 600."""
    escaped = database.replace("%", "%%")  # the file is read with configparser's interpolation
    # The cache spares a password hash, 0.2 s of CPU, per request. Its price: with several workers a changed
    # password or a deleted account may be accepted for that long.
    content = f"""[mlflow]
default_permission = {os.environ.get("DEFAULT_PERMISSION", "READ")}
database_uri = {escaped}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""
    descriptor = os.open(CONFIG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(CONFIG)


def _accounts(database: str) -> SqlAlchemyStore:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore  # reads the file above when imported

    store = SqlAlchemyStore()
    store.init_db(database)
    return store


def _set_account(store: SqlAlchemyStore, name: str, password: str, *, is_admin: bool) -> None:
    if len(password) < PASSWORD_LENGTH:
        sys.exit(
            f"The password of {name} has {len(password)} characters; it needs {PASSWORD_LENGTH} or more."
        )
    if not store.has_user(name):
        store.create_user(name, password, is_admin=is_admin)
        print(f"Made the account {name}.", flush=True)
    elif not store.authenticate_user(name, password):
        store.update_user(name, password=password)
        print(f"Gave the account {name} a new password.", flush=True)


def _make_bucket(name: str) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client("s3", endpoint_url=_required("MLFLOW_S3_ENDPOINT_URL"))
    deadline = time.monotonic() + BUCKET_SECONDS
    while True:
        try:
            if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=name)
            return
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                sys.exit(f"The object store does not give a bucket {name!r}: {error}")
            time.sleep(2)


def _ask_password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return getpass.getpass(f"Password for {name} (at least {PASSWORD_LENGTH} characters): ")


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set; docker/.env holds the secrets, and docker/make-secrets.sh writes it")
    return value


if __name__ == "__main__":
    main()
