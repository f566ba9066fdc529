-- schema.lua: the tables, for PostgreSQL and SQLite alike
--
-- A sync_id is one order's within its channel, the topic that it comes from.
-- 'revision' counts the events of an order: each can only follow the one
-- before it. 'applied' has a row for each record whose effect is in the
-- tables, made in the same transaction: a record that comes twice is known.

return {
  [[CREATE TABLE IF NOT EXISTS orders (
    channel  TEXT   NOT NULL,
    sync_id  TEXT   NOT NULL,
    revision BIGINT NOT NULL,
    customer TEXT   NOT NULL,
    cents    BIGINT NOT NULL CHECK (cents >= 0),
    status   TEXT   NOT NULL,
    PRIMARY KEY (channel, sync_id))]],

  [[CREATE TABLE IF NOT EXISTS invoices (
    channel TEXT   NOT NULL,
    number  TEXT   NOT NULL,
    sync_id TEXT   NOT NULL,
    cents   BIGINT NOT NULL CHECK (cents >= 0),
    PRIMARY KEY (channel, number),
    FOREIGN KEY (channel, sync_id) REFERENCES orders)]],

  [[CREATE TABLE IF NOT EXISTS applied (
    source_topic     TEXT   NOT NULL,
    source_partition BIGINT NOT NULL,
    source_offset    BIGINT NOT NULL,
    PRIMARY KEY (source_topic, source_partition, source_offset))]],
}
