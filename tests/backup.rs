//! `proviso backup` of a file that a host is writing: the copy is whole, a host on it goes on, and nothing that was answered
//! before the copy began is missing.

use crate::support::{Host, Setup, run, verify, verify_database};
use std::{
    ffi::OsStr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// `proviso backup`: whether it did, and what it said.
fn backup(data: &Path, to: &Path) -> (bool, String) {
    let (code, said) = run("backup", &[to.as_os_str(), OsStr::new("--data-dir"), data.as_os_str()]);
    (code == Some(0), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_load_is_whole() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut load = Vec::new();
    for customer in ["a", "b", "c", "d"] {
        client.customer(customer).await;
        let (mut client, ended, answered) = (host.client().await, ended.clone(), answered.clone());
        load.push(tokio::spawn(async move {
            let mut count = 0;
            while !ended.load(Ordering::Relaxed) {
                client.charge(customer, &format!("k{count}"), 1).await.expect(201);
                count += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            count
        }));
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut files, mut before) = (Vec::new(), Vec::new());
    for round in 1..=3 {
        while answered.load(Ordering::Relaxed) < 200 * round {
            tokio::task::yield_now().await;
        }
        before
            .push(client.get("/v1/customers/a/ledger?limit=1").await.expect(200)["data"][0]["entry"].clone());
        let (data, file) = (host.data.clone(), folder.path().join(format!("{round}.db")));
        let to = file.clone();
        let (done, said) = tokio::task::spawn_blocking(move || backup(data.path(), &to)).await.unwrap();
        assert!(done && said.starts_with("backed up sqlite://"), "{said}");
        files.push(file);
    }
    ended.store(true, Ordering::Relaxed);
    for task in load {
        assert!(task.await.unwrap() > 0);
    }
    let answered_in_all = answered.load(Ordering::Relaxed);

    // A backup is never written over, and no half one is left behind.
    let bytes = std::fs::read(&files[0]).unwrap();
    let (done, said) = backup(host.data.path(), &files[0]);
    assert!(!done && said.contains("exists already"), "{said}");
    assert!(std::fs::read(&files[0]).unwrap() == bytes, "the file has changed");
    let (done, said) = backup(&folder.path().join("nowhere"), &folder.path().join("4.db"));
    assert!(!done && said.contains("there is no database"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    assert!(host.terminate().await.success());

    for (file, before) in files.iter().zip(before) {
        let (fine, text) = verify_database(&format!("sqlite://{}", file.display()));
        assert!(fine, "{text}");
        let restored = Arc::new(tempfile::tempdir().unwrap());
        std::fs::copy(file, restored.path().join("proviso.db")).unwrap();
        let host = Setup::within(restored.clone()).start().await;
        let mut client = host.client().await;
        let last = &client.get("/v1/customers/a/ledger?limit=1").await.expect(200)["data"][0]["entry"];
        assert!(last.as_u64() >= before.as_u64() && before.is_u64(), "{last} of {before}");
        let again = client.charge("a", "k0", 1).await;
        assert!(again.replayed, "{}", again.body);
        client.charge("a", "after", 1).await.expect(201);
        assert!(host.terminate().await.success());
        let (fine, text) = verify(restored.path());
        assert!(fine, "{text}");
    }
    assert!(answered_in_all >= 600, "{answered_in_all}");
}
