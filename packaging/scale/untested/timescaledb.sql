-- UNTESTED. TimescaleDB is PostgreSQL: evenwatt uses it as it is, with its own partitions by month, which are to be left
-- alone (no create_hypertable on "ledger" or "hour"). What it adds is a view of the energy by hour for other tools:
CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE VIEW energy_by_hour AS
  SELECT to_timestamp(hour.hour * 3600) AS time, zone.name AS zone, node.name AS node, SUM(hour.energy_j) AS energy_j
  FROM hour JOIN zone ON zone.id = hour.zone JOIN node ON node.id = hour.node
  WHERE hour.cut = 1 GROUP BY 1, 2, 3;
-- Read it with a role of its own that may do nothing but read:
CREATE ROLE grafana LOGIN;
GRANT SELECT ON energy_by_hour TO grafana;
