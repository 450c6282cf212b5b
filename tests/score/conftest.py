from __future__ import annotations

from tests.storage.conftest import cluster, where

__all__ = ["cluster", "where"]
