"""What is kept: the ledger of energy, what was said of intensity, and what both come to; SQLite or PostgreSQL."""

from evenwatt_collector.storage.connection import Connection, DatabaseError, connect, is_url
from evenwatt_collector.storage.writer import LedgerWriter

__all__ = ["Connection", "DatabaseError", "LedgerWriter", "connect", "is_url"]
