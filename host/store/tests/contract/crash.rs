//! Crashes: a log that ends at any byte, and a process that was killed while it wrote.

use crate::{
    Factory, SqliteFile,
    model::{FORMAT, Model, customer, entry, key, row, unknown},
};
use proviso_ledger::model::ids::CustomerId;
use proviso_store::{Batch, Commit, NewKey};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

fn everyone() -> Vec<CustomerId> {
    (0..5).map(|n| customer(&format!("c{n}"))).collect()
}

/// The `n`th batch of a run, for some of the customers.
fn nth(model: &Model, n: usize) -> Batch {
    let mut batch = Batch::default();
    for (index, name) in everyone().iter().enumerate().filter(|(index, _)| !(n + index).is_multiple_of(3)) {
        let seq = model.head(name) + 1;
        batch.entries.push(entry(name, seq, Some(key(&format!("{seq}")))));
        if index == n % 5 {
            batch.keys.push(NewKey { customer: name.clone(), key_hash: key(&format!("more {seq}")), seq });
            batch.customers.push(row(name, Some(n as i64)));
        }
    }
    batch
}

fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    format!("{}{suffix}", path.display()).into()
}

#[tokio::test]
async fn a_log_cut_anywhere_opens_as_some_moment_of_the_past() {
    let mut file = SqliteFile::with_small_limits();
    // Without a checkpoint the log alone holds everything, so that each of its beginnings is what a power cut may leave.
    file.options.checkpoint_pages = 1 << 20;
    let store = file.open().await;
    let mut past = vec![Model::default()];
    for n in 0..60 {
        let mut model = past[n].clone();
        let batch = nth(&model, n);
        assert_eq!(store.commit(batch.clone()).await, Ok(Commit::Durable));
        model.commit(&batch);
        past.push(model);
    }
    let (data, log) = (&file.options.path, std::fs::read(beside(&file.options.path, "-wal")).unwrap());
    let mut reached = 0;
    for cut in (1..=49).map(|part| log.len() * part / 49 - part % 7 * 100) {
        let copy = SqliteFile::with_small_limits();
        std::fs::copy(data, &copy.options.path).unwrap();
        std::fs::write(beside(&copy.options.path, "-wal"), &log[..cut]).unwrap();
        let reopened = copy.open().await;
        let entries: usize = reopened
            .load(&unknown(&everyone()), FORMAT)
            .await
            .unwrap()
            .iter()
            .map(|found| found.tail.len())
            .sum();
        let moment = past.iter().position(|model| model.keys.len() - further_keys(model) == entries).unwrap();
        assert!(moment >= reached, "a longer log has less in it");
        reached = moment;
        let mut model = past[moment].clone();
        model.check(&*reopened, &everyone()).await;
        for n in moment..moment + 4 {
            let batch = nth(&model, n);
            assert_eq!(reopened.commit(batch.clone()).await, Ok(Commit::Durable), "cut at {cut}");
            model.commit(&batch);
        }
        model.check(&*reopened, &everyone()).await;
    }
    assert_eq!(reached, 60);
}

/// Further keys, of which there are as many as keys that are no entry's own.
fn further_keys(model: &Model) -> usize {
    model.keys.len() - model.journals.values().map(Vec::len).sum::<usize>()
}

const CHILD_FILE: &str = "PROVISO_TEST_CHILD_FILE";

/// Not a test of its own: the process that the next test kills. It says when each batch is durable.
#[tokio::test]
#[ignore = "run by a_killed_process_loses_nothing_that_it_answered"]
#[allow(clippy::disallowed_methods)]
async fn commits_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD_FILE) else { return };
    let mut file = SqliteFile::with_small_limits();
    file.options.path = path.into();
    file.options.checkpoint_pages = 32;
    let store = file.open().await;
    let mut model = Model::default();
    for n in 0..100_000 {
        let batch = nth(&model, n);
        assert_eq!(store.commit(batch.clone()).await, Ok(Commit::Durable));
        model.commit(&batch);
        println!("durable");
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_answered() {
    for until in [1, 3, 30, 100, 250] {
        let file = SqliteFile::with_small_limits();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::commits_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CHILD_FILE, &file.options.path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let durable =
            |line: &std::io::Result<String>| line.as_ref().is_ok_and(|line| line.contains("durable"));
        let mut answered = lines.filter(durable);
        assert_eq!(answered.by_ref().take(until).count(), until, "the child ended early");
        child.kill().unwrap();
        child.wait().unwrap();
        let answered = until + answered.count();

        let store = file.open().await;
        let mut model = Model::default();
        for n in 0..answered {
            let batch = nth(&model, n);
            model.commit(&batch);
        }
        // One more may have become durable without an answer.
        let mut one_more = model.clone();
        one_more.commit(&nth(&model, answered));
        let found = store.load(&unknown(&everyone()), FORMAT).await.unwrap();
        let loaded =
            |model: &Model| everyone().iter().map(|name| model.load(name, FORMAT)).collect::<Vec<_>>();
        let model = if found == loaded(&one_more) { one_more } else { model };
        model.check(&*store, &everyone()).await;
    }
}
