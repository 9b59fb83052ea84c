//! Whatever is cut off, removed or edited by SQL is found by the checkpoints in the database or in a file, on both databases;
//! a restored backup is told from it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

mod database;

use database::Database;
use proviso_engine::{
    Against, CheckpointFile, CheckpointOptions, Older, Options, SigningKey, Verification, checkpoint_file,
    verify,
};
use proviso_fixtures::host::{self, Host, START, key, time};
use proviso_ledger::journal::{ChainHash, chain, genesis};
use std::time::Duration;

const LATER: &str = "2026-01-15T12:00:00Z";

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

async fn host(database: &Database, now: &str) -> Host {
    let checkpoints = CheckpointOptions { every: Duration::from_secs(3_600), key: signing(1) };
    let options = Options { checkpoints: Some(checkpoints), ..Options::default() };
    Host::with_options(database.open().await, now, options).await
}

/// A host at work for two hours: checkpoint 1 after entry 4 of acme, checkpoint 2 after entry 6. Returns the database, and
/// a copy of it from between the checkpoints.
async fn at_work(database: Database) -> (Database, Database) {
    let first = host(&database, START).await.with_plan().await;
    for customer in ["acme", "globex", "zenith"] {
        first.customer(customer, Some("pro")).await;
    }
    first.charge("acme", 100, Some("k1")).await;
    first.charge("acme", 200, Some("k2")).await;
    assert_eq!(first.engine.checkpoint().await.unwrap(), Some(1));
    // Not yet due.
    assert_eq!(first.engine.checkpoint().await.unwrap(), None);
    first.engine.close().await;
    let copy = database.copy().await;
    let second = host(&database, LATER).await;
    second.charge("acme", 300, Some("k3")).await;
    second.charge("acme", 400, Some("k4")).await;
    second.charge("zenith", 400, None).await;
    second.customer("initech", None).await;
    assert_eq!(second.engine.checkpoint().await.unwrap(), Some(2));
    second.engine.close().await;
    (database, copy)
}

async fn file(database: &Database, by: &SigningKey) -> CheckpointFile {
    let store = database.open_read_only().await;
    let made = checkpoint_file(&*store, time(LATER), by).await.unwrap();
    store.close().await;
    // As it is read from a disk.
    let mut written = Vec::new();
    made.write(&mut written).unwrap();
    let read = CheckpointFile::read(written.as_slice()).unwrap();
    assert_eq!(read, made);
    read
}

async fn verified(database: &Database, trusted: &[SigningKey], file: Option<CheckpointFile>) -> Verification {
    let store = database.open_read_only().await;
    let trusted = trusted.iter().map(SigningKey::public).collect();
    let verification = verify(&*store, Against { trusted, file }, |_| {}).await.unwrap();
    store.close().await;
    verification
}

fn lines(verification: &Verification) -> Vec<String> {
    let line =
        |difference: &proviso_engine::Difference| format!("{}: {}", difference.subject, difference.detail);
    verification.differences.iter().map(line).collect()
}

/// What is done by SQL, and what `verify` says of it: with the checkpoints in the database, and with a file after the
/// checkpoints were removed, too.
const TAMPERING: &[(&[&str], &[&str], &[&str])] = &[
    (&[], &[], &[]),
    // The newest entries of one customer, so that every other check agrees.
    (
        &["delete from entries where customer_id = 'acme' and seq > 5"],
        &[
            "acme: the journal ends at entry 5, checkpoint 2 of 2026-01-15T12:00:00Z names entry 6: the newest entries were \
           cut off",
        ],
        // It could be an earlier copy: nothing tells.
        &["older 1 1 0"],
    ),
    // Behind the first checkpoint, too: one line.
    (
        &["delete from entries where customer_id = 'acme' and seq > 3"],
        &[
            "acme: the journal ends at entry 3, checkpoint 2 of 2026-01-15T12:00:00Z names entry 6: the newest entries were \
           cut off",
        ],
        &["older 1 3 0"],
    ),
    // Whole customers: in the middle, and the last one.
    (
        &[
            "delete from entries where customer_id in ('acme', 'zenith')",
            "delete from customers where customer_id in ('acme', 'zenith')",
            "delete from idempotency where customer_id in ('acme', 'zenith')",
        ],
        &[
            "acme: the customer is gone, checkpoint 2 of 2026-01-15T12:00:00Z names entry 6 of its journal",
            "zenith: the customer is gone, checkpoint 2 of 2026-01-15T12:00:00Z names entry 3 of its journal",
        ],
        &["older 0 9 2"],
    ),
    (
        &["update plan_terms set body = replace(body, '0.001', '0.009')"],
        &["terms 1 of plan pro: was edited since checkpoint 2 of 2026-01-15T12:00:00Z"],
        &["terms 1 of plan pro: was edited since the checkpoint of 2026-01-15T12:00:00Z"],
    ),
    (
        &["delete from plan_terms"],
        &["terms 1 of plan pro: is gone since checkpoint 2 of 2026-01-15T12:00:00Z"],
        &["terms 1 of plan pro: is gone since the checkpoint of 2026-01-15T12:00:00Z"],
    ),
    // Something that passes itself off as old; and an edit as new.
    (
        &[
            "insert into plans (plan_id, body, revision) select 'free', body, revision from plans",
            "insert into plan_versions (plan_id, version, body, revision) select 'free', version, body, revision from plan_versions",
            "update plan_terms set body = replace(body, '0.001', '0.009'), revision = revision + 100",
        ],
        &[
            "terms 1 of plan pro: claims revision",
            "plan free: claims to be older than checkpoint 2 of 2026-01-15T12:00:00Z, which does not know it",
            "version 1 of plan free: claims to be older than checkpoint 2 of 2026-01-15T12:00:00Z, which does not know it",
        ],
        &[
            "terms 1 of plan pro: claims revision",
            "plan free: claims to be older than the checkpoint of 2026-01-15T12:00:00Z, which does not know it",
            "version 1 of plan free: claims to be older than the checkpoint of 2026-01-15T12:00:00Z, which does not know it",
        ],
    ),
    // The checkpoints themselves.
    (
        &[
            "update checkpoints set statement = replace(statement, '\"journals\":3', '\"journals\":2') where number = 1",
        ],
        &[
            "checkpoint 1: is not what its key signed",
            "checkpoint 2: names another checkpoint before it than the one that stands there",
        ],
        &[],
    ),
    (
        &["update checkpoints set catalog = '[]' where number = 1"],
        &["checkpoint 1: is not what its key signed"],
        &[],
    ),
    (
        &["delete from checkpoints where number = 1", "delete from anchors where checkpoint = 1"],
        &["checkpoint 2: checkpoint 1, which stood before it, is gone"],
        &[],
    ),
    (
        &[
            "delete from entries where customer_id = 'acme' and seq > 5",
            "update anchors set seq = 5, hash = (select hash from entries where customer_id = 'acme' and seq = 5) \
             where customer_id = 'acme' and checkpoint = 2",
        ],
        &["checkpoint 2: the ends of journals that it names are not those that were signed"],
        &["older 1 1 0"],
    ),
];

/// Compares with lines of which only the beginnings are given.
#[track_caller]
fn expect(what: &[&str], found: &Verification, expected: &[&str]) {
    let mut lines = lines(found);
    if let Some(Older { shorter, entries, missing, catalog, .. }) = found.older {
        assert!(!catalog);
        lines.push(format!("older {shorter} {entries} {missing}"));
    }
    let fits = lines.len() == expected.len()
        && expected.iter().all(|begin| lines.iter().any(|line| line.starts_with(begin)));
    assert!(fits, "{what:?}: found {lines:#?}, not {expected:#?}");
    assert_eq!(found.is_clean(), expected.is_empty(), "{what:?}");
}

/// Usage totals show a cut journal, too, once they were made of it.
const NO_TOTALS: &[&str] = &["delete from usage_rollups", "delete from rollup_cursors"];

async fn tampering_is_found(fresh: Database) {
    let (database, _) = at_work(fresh).await;
    let kept = file(&database, &signing(1)).await;
    let keys = [signing(1)];
    for (statements, by_stored, by_file) in TAMPERING {
        let tampered = database.copy().await;
        tampered.sql(statements);
        tampered.sql(NO_TOTALS);
        expect(statements, &verified(&tampered, &keys, None).await, by_stored);
        tampered.sql(&["delete from checkpoints", "delete from anchors"]);
        expect(statements, &verified(&tampered, &keys, None).await, &[]);
        expect(statements, &verified(&tampered, &keys, Some(kept.clone())).await, by_file);
    }
}

/// An entry that is edited, with all hashes after it made anew, so that the journal by itself is faultless.
async fn a_forged_journal_is_found(fresh: Database) {
    let (database, _) = at_work(fresh).await;
    let kept = file(&database, &signing(1)).await;
    let customer = key("acme");
    let store = database.open_read_only().await;
    let entries = store.entries(&customer, 0, 100).await.unwrap();
    store.close().await;
    assert_eq!(entries.len(), 6);
    let mut hash: ChainHash = genesis(&customer);
    for entry in &entries {
        let edited = entry.seq == 4;
        let body = if edited {
            entry.body.replacen("\"label\":\"", "\"label\":\"cheap ", 1)
        } else {
            entry.body.clone()
        };
        assert_eq!(body != entry.body, edited);
        hash = chain(&hash, &body);
        database.set_entry("acme", entry.seq, &hash, &body);
    }
    let keys = [signing(1)];
    let stored = "acme: entry 4 is not the one that checkpoint 1 of 2026-01-15T10:00:00Z names";
    expect(&["forged"], &verified(&database, &keys, None).await, &[stored]);
    database.sql(&["delete from checkpoints", "delete from anchors"]);
    expect(&["forged"], &verified(&database, &keys, None).await, &[]);
    let named = "acme: entry 6 is not the one that the checkpoint of 2026-01-15T12:00:00Z names";
    expect(&["forged"], &verified(&database, &keys, Some(kept)).await, &[named]);
}

async fn a_restored_copy_is_older(fresh: Database) {
    let (database, older) = at_work(fresh).await;
    let keys = [signing(1)];
    let kept = file(&database, &signing(1)).await;
    expect(&["restored"], &verified(&older, &keys, None).await, &[]);
    let found = verified(&older, &keys, Some(kept.clone())).await;
    let at = time(LATER);
    // acme lacks two entries, zenith one, and initech was not there.
    let gone = found.older.as_ref().map(|older| older.gone.clone()).unwrap_or_default();
    assert_eq!(gone.len(), 1);
    assert_eq!(found.older, Some(Older { at, shorter: 2, entries: 4, missing: 1, gone, catalog: false }));
    assert_eq!(lines(&found), Vec::<String>::new());
    assert!(!found.is_clean());

    // The catalog of the kept one may be newer, too.
    let host = host(&database, LATER).await;
    host.put_plan(host::settings("0.002", "1000")).await;
    host.engine.close().await;
    let newer = file(&database, &signing(1)).await;
    let found = verified(&older, &keys, Some(newer)).await;
    assert!(
        found.older.as_ref().is_some_and(|older| older.catalog) && found.differences.is_empty(),
        "{found:?}"
    );

    // What went on since agrees with the file, and what is cut off then is not an earlier copy.
    expect(&["went on"], &verified(&database, &keys, Some(kept.clone())).await, &[]);
    database.sql(&["delete from entries where customer_id = 'acme' and seq > 5"]);
    database.sql(&["delete from checkpoints", "delete from anchors"]);
    database.sql(NO_TOTALS);
    let cut = "acme: the journal ends at entry 5, the checkpoint of 2026-01-15T12:00:00Z names entry 6";
    expect(&["cut off"], &verified(&database, &keys, Some(kept.clone())).await, &[cut]);

    // An earlier copy of which something was edited is not merely older.
    older.sql(&["update plan_terms set body = replace(body, '0.001', '0.009')"]);
    let found = verified(&older, &keys, Some(kept)).await;
    assert!(
        found.older.is_none() && lines(&found).iter().any(|line| line.contains("was edited since")),
        "{found:?}"
    );
}

async fn keys_are_told_apart(fresh: Database) {
    let (database, _) = at_work(fresh).await;
    let (right, wrong) = (signing(1), signing(2));
    let forged = file(&database, &wrong).await;
    let kept = file(&database, &right).await;
    let other = |key: &SigningKey| format!("was signed by another key, {}", key.public());

    let by_wrong = format!("the checkpoint in the file: {}", other(&wrong));
    expect(
        &["file"],
        &verified(&database, std::slice::from_ref(&right), Some(forged.clone())).await,
        &[&by_wrong],
    );
    let (first, second) =
        (format!("checkpoint 1: {}", other(&right)), format!("checkpoint 2: {}", other(&right)));
    expect(&["stored"], &verified(&database, std::slice::from_ref(&wrong), None).await, &[&first, &second]);
    expect(&["both"], &verified(&database, &[right.clone(), wrong.clone()], Some(forged.clone())).await, &[]);

    // Without any trusted key they are compared all the same, and the keys are named.
    let found = verified(&database, &[], Some(forged)).await;
    expect(&["none"], &found, &[]);
    let keys: Vec<_> = found.unvouched.into_iter().collect();
    let mut expected = vec![right.public(), wrong.public()];
    expected.sort_unstable();
    assert_eq!(keys, expected);

    // A file with one line edited.
    let mut text = Vec::new();
    kept.write(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for (from, to) in [("\"seq\":6", "\"seq\":5"), ("\"revision\":1", "\"revision\":9"), ("T12:00", "T13:00")]
    {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text);
        let edited = CheckpointFile::read(edited.as_bytes()).unwrap();
        let found = verified(&database, std::slice::from_ref(&right), Some(edited)).await;
        expect(&[from], &found, &["the checkpoint in the file: is not what its key signed"]);
    }
    for (broken, error) in [("", "is empty"), ("{}", "line 1"), (text.lines().nth(1).unwrap(), "line 1")] {
        let error_found = CheckpointFile::read(broken.as_bytes()).unwrap_err().to_string();
        assert!(error_found.contains(error), "{broken}: {error_found}");
    }
}

/// A host that goes on after something was cut off signs what it finds; what was signed before stays on record.
async fn a_loss_stays_on_record(fresh: Database) {
    let (database, _) = at_work(fresh).await;
    database.sql(&[
        "delete from entries where customer_id = 'acme' and seq > 5",
        "delete from idempotency where customer_id = 'acme' and seq > 5",
        "delete from entries where customer_id = 'initech'",
        "delete from customers where customer_id = 'initech'",
    ]);
    let host = host(&database, "2026-01-15T14:00:00Z").await;
    assert_eq!(host.engine.checkpoint().await.unwrap(), Some(3));
    host.engine.close().await;
    let keys = [signing(1)];
    let cut = "acme: the journal ends at entry 5, checkpoint 2 of 2026-01-15T12:00:00Z names entry 6";
    let gone =
        "initech: the customer is gone, checkpoint 2 of 2026-01-15T12:00:00Z names entry 1 of its journal";
    expect(&["loss"], &verified(&database, &keys, None).await, &[cut, gone]);
    // Then another entry takes the number.
    let host = self::host(&database, "2026-01-15T16:00:00Z").await;
    host.charge("acme", 500, None).await;
    assert_eq!(host.engine.checkpoint().await.unwrap(), Some(4));
    host.engine.close().await;
    let other = "acme: entry 6 is not the one that checkpoint 2 of 2026-01-15T12:00:00Z names";
    expect(&["loss"], &verified(&database, &keys, None).await, &[other, gone]);
}

macro_rules! on_both {
    ($($check:ident,)*) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $check() {
                    super::$check(super::Database::sqlite()).await;
                }
            )*
        }

        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $check() {
                    super::$check(super::Database::postgres()).await;
                }
            )*
        }
    };
}

on_both!(
    tampering_is_found,
    a_forged_journal_is_found,
    a_restored_copy_is_older,
    keys_are_told_apart,
    a_loss_stays_on_record,
);

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_one_writes_each_checkpoint() {
    let database = Database::postgres();
    let hosts = [host(&database, START).await, host(&database, START).await, host(&database, START).await];
    for (number, now) in [(1, None), (2, Some("2026-01-15T11:00:00Z")), (3, Some("2026-01-15T12:00:00Z"))] {
        for host in &hosts {
            now.into_iter().for_each(|now| host.at(now));
        }
        let [a, b, c] = hosts.each_ref().map(|host| host.engine.checkpoint());
        let (a, b, c) = tokio::join!(a, b, c);
        let mut wrote: Vec<_> = [a, b, c].into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(wrote.pop(), Some(number));
        assert!(wrote.is_empty(), "{wrote:?}");
    }
    for host in hosts {
        host.engine.close().await;
    }
}
