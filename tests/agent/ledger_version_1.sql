PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    what TEXT NOT NULL,
    details TEXT NOT NULL
) STRICT;
INSERT INTO "audit" VALUES(1,'2026-11-25T10:04:54.038950+00:00','budget','{"before": null, "offer_id": "tea", "opening": 850}');
INSERT INTO "audit" VALUES(2,'2026-11-25T10:04:54.039158+00:00','claim','{"as_of": "2018-01-01T12:00:00+00:00", "claim_id": "363b8a1c92264fb0a4122b4d7197cc9c", "cost": 85, "customer_id": "7", "decision": {"reason": "because"}, "offer_id": "tea", "refusal": null}');
INSERT INTO "audit" VALUES(3,'2026-11-25T10:04:54.069262+00:00','claim','{"as_of": "2018-01-01T13:00:00.000005+00:00", "claim_id": "1566658b1c2f4c2584cdea4e368398d9", "cost": 85, "customer_id": "8", "decision": {"reason": "because"}, "offer_id": "tea", "refusal": null}');
INSERT INTO "audit" VALUES(4,'2026-11-25T10:04:54.115144+00:00','budget','{"before": null, "offer_id": "soap", "opening": 100}');
INSERT INTO "audit" VALUES(5,'2026-11-25T10:04:54.115343+00:00','claim','{"as_of": "2018-01-01T12:00:00+00:00", "claim_id": "54e27861d6de422ea15d44f7d52aa58a", "cost": 40, "customer_id": "7", "decision": {"reason": "because"}, "offer_id": "soap", "refusal": null}');
INSERT INTO "audit" VALUES(6,'2026-11-25T10:04:54.154981+00:00','refused claim','{"as_of": "2018-01-01T12:00:00+00:00", "claim_id": null, "cost": 85, "customer_id": "7", "decision": {"reason": "because"}, "offer_id": "tea", "refusal": "Customer ''7'' has claimed offer ''tea'' 1 times, as often as one customer may."}');
CREATE TABLE budgets (
    offer_id TEXT PRIMARY KEY,
    opening INTEGER NOT NULL CHECK (opening >= 0),
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0)
) STRICT;
INSERT INTO "budgets" VALUES('tea',850,170);
INSERT INTO "budgets" VALUES('soap',100,40);
CREATE TABLE claims (
    claim_id TEXT PRIMARY KEY,
    offer_id TEXT NOT NULL REFERENCES budgets (offer_id),
    customer_id TEXT NOT NULL,
    cost INTEGER NOT NULL CHECK (cost >= 0),
    exclusive_group TEXT NOT NULL,
    expires TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    request_hash TEXT NOT NULL,
    claimed_at TEXT NOT NULL
) STRICT;
INSERT INTO "claims" VALUES('363b8a1c92264fb0a4122b4d7197cc9c','tea','7',85,'drinks','2018-02-01','k1','450859d80d0156d5e55e5006aa6e32ff6f8093cc7f342b2917f48247a4a3178a','2018-01-01T12:00:00+00:00');
INSERT INTO "claims" VALUES('1566658b1c2f4c2584cdea4e368398d9','tea','8',85,'drinks','2018-02-01','k2','430bec53112a898f28a059da7953be4e3e226a60b87e10f6cc5751fd37ff0fa3','2018-01-01T13:00:00.000005+00:00');
INSERT INTO "claims" VALUES('54e27861d6de422ea15d44f7d52aa58a','soap','7',40,'','2018-01-15','k3','e256bdb768911f5a7b326b08a83c12a826b90d1143ce258135c9df0825ad62b2','2018-01-01T12:00:00+00:00');
CREATE TABLE conversations (
    turn_id INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    login TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    text TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
INSERT INTO "conversations" VALUES(1,'c','ada','7','user','What''s on?','2018-01-01T12:00:00+00:00');
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO "counters" VALUES('written',3);
CREATE TABLE feedback (
    customer_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    liked INTEGER NOT NULL CHECK (liked IN (0, 1)),
    at TEXT NOT NULL,
    PRIMARY KEY (customer_id, item_id)
) STRICT;
INSERT INTO "feedback" VALUES('7','tea-1',1,'2018-01-01T12:00:00+00:00');
CREATE INDEX claims_of_customer ON claims (customer_id, offer_id);
CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE audit_id = NEW.audit_id)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE INDEX turns_of_conversation ON conversations (conversation_id, turn_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',6);
COMMIT;
