"""What answers at the address of a tracking server, asked once and listened to for seconds only."""

from __future__ import annotations

import json
import os
import time
from typing import Any

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
LONGEST = 1 << 20
"""Bytes of an answer about a single experiment; a thousandth of that is usual."""


def ask(uri: str) -> tuple[int, str]:
    """The status and the text of the answer to a search for one experiment.

    Raises:
        OSError: Nobody answers, or goes on answering without end.
    """
    import requests

    auth = None
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        auth = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token and not auth else {}
    verify: bool | str = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or (
        os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() != "true"
    )
    with requests.get(
        f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search",
        params={"max_results": "1"},
        auth=auth,
        headers=headers,
        verify=verify,
        timeout=CONNECT_SECONDS,
        stream=True,
    ) as response:
        return response.status_code, _bounded(response)


def _bounded(response: Any) -> str:
    deadline, text = time.monotonic() + ANSWER_SECONDS, bytearray()
    # byte by byte: larger pieces are waited for until they are full, however slowly that is
    for piece in response.iter_content(1):
        text += piece
        if len(text) > LONGEST or time.monotonic() > deadline:
            raise OSError("its answer does not end")
    return text.decode("utf-8", "replace")


def is_mlflow(text: str) -> bool:
    """Whether this is how MLflow answers."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("experiments", []), list)
