"""Two users of one cache do not get into each other's way."""

import os

from integrand.cli.compile_caches import keep_apart


def test_each_user_has_a_folder(tmp_path, monkeypatch):
    shared, mine, absent = (tmp_path / name for name in ("shared", "mine", "absent"))
    shared.mkdir()
    mine.mkdir()
    for folder in (mine, absent):
        environment = {"TORCHINDUCTOR_CACHE_DIR": str(folder)}
        keep_apart(environment)
        assert environment == {"TORCHINDUCTOR_CACHE_DIR": str(folder)}
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    environment = {"TRITON_CACHE_DIR": str(shared), "HOME": "/"}
    keep_apart(environment)
    assert environment == {"TRITON_CACHE_DIR": f"{shared}-12345", "HOME": "/"}
