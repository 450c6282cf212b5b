"""What is kept: the ledger of energy, what was said of intensity, and what both come to; SQLite or PostgreSQL."""

from evenwatt_collector.storage.connection import Connection, DatabaseError, FencedError, connect, is_url
from evenwatt_collector.storage.writer import LedgerWriter

__all__ = ["Connection", "DatabaseError", "FencedError", "LedgerWriter", "connect", "is_url"]
