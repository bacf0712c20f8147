"""The migrations that turn an empty SQLite file, or one of an older version, into the tables of the embedded ledger."""

from __future__ import annotations

MIGRATIONS = (
    """
CREATE TABLE remediations (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL, repository TEXT NOT NULL, member TEXT NOT NULL,
  last_seen TEXT NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX remediations_by_time ON remediations (last_seen, id);
CREATE INDEX remediations_by_state ON remediations (state, last_seen, id);
CREATE INDEX remediations_by_member ON remediations (member, last_seen, id);
CREATE INDEX remediations_by_repository ON remediations (repository, last_seen, id);
CREATE TABLE trail (
  number INTEGER PRIMARY KEY AUTOINCREMENT, remediation TEXT NOT NULL, seq INTEGER NOT NULL, record BLOB NOT NULL,
  UNIQUE (remediation, seq));
CREATE TABLE denials (
  remediation TEXT NOT NULL, denial TEXT NOT NULL, PRIMARY KEY (remediation, denial)) WITHOUT ROWID;
""",
    """
CREATE TABLE modes (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE mode_changes (seq INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE places (name TEXT NOT NULL, holder TEXT NOT NULL, PRIMARY KEY (name, holder)) WITHOUT ROWID;
""",
    """
CREATE TABLE parcels (
  id TEXT PRIMARY KEY, channel TEXT NOT NULL, due TEXT, version INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX parcels_by_due ON parcels (channel, due, id) WHERE due IS NOT NULL;
""",
    """
ALTER TABLE remediations ADD COLUMN updated TEXT NOT NULL DEFAULT '';
ALTER TABLE remediations ADD COLUMN words TEXT NOT NULL DEFAULT '';
UPDATE remediations SET updated = json_extract(CAST(record AS TEXT), '$.updated'), words = lower(
  id || ' ' || member || ' ' || repository || ' ' || coalesce((SELECT group_concat(
    coalesce(json_extract(value, '$.project'), '') || ' ' || coalesce(json_extract(value, '$.number'), ''), ' ')
    FROM json_each(CAST(record AS TEXT), '$.deploys')), ''));
CREATE INDEX remediations_by_change ON remediations (state, updated, id, words);
DROP INDEX remediations_by_time;
DROP INDEX remediations_by_state;
CREATE INDEX remediations_by_time ON remediations (last_seen, id, state, words);
CREATE INDEX remediations_by_state ON remediations (state, last_seen, id, words);
ALTER TABLE trail ADD COLUMN at TEXT GENERATED ALWAYS AS (json_extract(CAST(record AS TEXT), '$.at'));
ALTER TABLE trail ADD COLUMN actor TEXT GENERATED ALWAYS AS (json_extract(CAST(record AS TEXT), '$.actor'));
ALTER TABLE trail ADD COLUMN member TEXT GENERATED ALWAYS AS (json_extract(CAST(record AS TEXT), '$.member'));
ALTER TABLE trail ADD COLUMN repository TEXT GENERATED ALWAYS AS (json_extract(CAST(record AS TEXT), '$.repository'));
ALTER TABLE trail ADD COLUMN becomes TEXT GENERATED ALWAYS AS (json_extract(CAST(record AS TEXT), '$.after'));
ALTER TABLE trail ADD COLUMN outcome TEXT GENERATED ALWAYS AS (json_extract(CAST(record AS TEXT), '$.outcome'));
ALTER TABLE trail ADD COLUMN project TEXT GENERATED ALWAYS AS (json_extract(CAST(record AS TEXT), '$.project'));
CREATE INDEX trail_by_time ON trail (at, remediation, seq, actor, member, repository, becomes, outcome, project);
CREATE INDEX trail_by_member ON trail (member, at, remediation, seq);
CREATE INDEX trail_by_repository ON trail (repository, at, remediation, seq);
""",
    """
ALTER TABLE remediations ADD COLUMN gathered TEXT NOT NULL DEFAULT '';
CREATE INDEX remediations_by_group_and_change ON remediations (state, gathered, updated, id, words);
CREATE INDEX remediations_by_group_and_state ON remediations (state, gathered, last_seen, id, words);
CREATE INDEX remediations_by_group ON remediations (gathered, last_seen, id, state, words);
""",
    """
ALTER TABLE remediations ADD COLUMN ends TEXT;
UPDATE remediations SET ends = CASE
  WHEN json_extract(CAST(record AS TEXT), '$.ending') IS NOT NULL THEN updated
  WHEN json_extract(CAST(record AS TEXT), '$.ours') THEN json_extract(CAST(record AS TEXT), '$.expires') END
  WHERE state = 'granted' AND json_valid(CAST(record AS TEXT));
CREATE INDEX remediations_by_end ON remediations (ends, id) WHERE ends IS NOT NULL;
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until TEXT NOT NULL) WITHOUT ROWID;
""",
)
"""The script for each schema, from the previous one; the first from an empty file."""
SCHEMA = len(MIGRATIONS)
