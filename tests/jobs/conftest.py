from __future__ import annotations

from tests.storage.conftest import cluster, database, where

__all__ = ["cluster", "database", "where"]
