"""Records of a spool: each carries its length and checksum, so that damage is seen and stays where it is."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass, field

from .operations import Operation, is_sound

_HEAD = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{8}) ")
_HEAD_BYTES = 18


@dataclass
class Records:
    """What a piece of a spool holds.

    Args:
        operations: The operations, in order.
        damaged: Bytes that are none, as they were found.
    """

    operations: list[Operation] = field(default_factory=list)
    damaged: list[bytes] = field(default_factory=list)


def frame(operation: Operation) -> bytes:
    """One operation as a line: length and CRC-32 of what follows in hexadecimal, then JSON."""
    payload = json.dumps(operation, separators=(",", ":")).encode()
    return b"%08x %08x %b\n" % (len(payload), zlib.crc32(payload), payload)


def unframe(data: bytes) -> Records:
    """Read whole lines; one whose checksum or content is wrong is `damaged`, and the next is read again.

    Lines of earlier versions are bare JSON.
    """
    found = Records()
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        line = data[start : len(data) if end < 0 else end]
        payload, used = _payload(data, start, line)
        operation = _operation(payload)
        if operation is not None:
            found.operations.append(operation)
        elif line.strip():
            found.damaged.append(line)
        start += (used if operation is not None else len(line)) + 1
    return found


def _payload(data: bytes, start: int, line: bytes) -> tuple[bytes | None, int]:
    """What the line that begins at `start` carries, None where its checksum is wrong, and its length.

    The length counts, not the end of the line: where that is damaged, the record behind it is still found.
    """
    head = _HEAD.match(line)
    if head is None:
        return line, len(line)
    length, checksum = int(head[1], 16), int(head[2], 16)
    for size in (length, len(line) - _HEAD_BYTES):
        payload = data[start + _HEAD_BYTES : start + _HEAD_BYTES + size]
        if zlib.crc32(payload) == checksum:
            return payload, _HEAD_BYTES + size
    return None, len(line)


def _operation(payload: bytes | None) -> Operation | None:
    try:
        operation = json.loads(payload or b"")
    except (ValueError, RecursionError):
        return None
    return operation if is_sound(operation) else None
