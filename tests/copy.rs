//! A file that is copied to a server: a host on the copy goes on as if nothing had happened, and `verify` finds the same.

use crate::support::{Host, Setup, cluster::shared, run, verify_database};
use std::{ffi::OsStr, path::Path};

/// `proviso copy`: whether it did, and what it said.
fn copy(data: &Path, to: &str) -> (bool, String) {
    let [flag, to, data_dir] = ["--to", to, "--data-dir"].map(OsStr::new);
    let (code, said) = run("copy", &[flag, to, data_dir, data.as_os_str()]);
    (code == Some(0), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_on_the_copy_goes_on() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    let mut charged = Vec::new();
    for customer in ["acme", "zenith"] {
        client.customer(customer).await;
        for key in ["a", "b", "c"] {
            charged.push((customer, key, client.charge(customer, key, 1_000).await.expect(201)));
        }
    }
    let before = [client.seen("acme").await, client.seen("zenith").await];
    let url = shared().url(&shared().create_database());

    // A host that still writes would write what is left behind.
    let (done, said) = copy(host.data.path(), &url);
    assert!(!done && said.contains("another process has this database open"), "{said}");
    let data = host.data.clone();
    assert!(host.terminate().await.success());
    let (done, said) = copy(data.path(), &url);
    assert!(done && said.contains("entries of 2 customers"), "{said}");
    assert!(said.contains(" to postgres://") && !said.contains("password"), "{said}");
    let (done, said) = copy(data.path(), &url);
    assert!(!done && said.contains("is not empty"), "{said}");
    let nowhere = data.path().join("nowhere");
    let (done, said) = copy(&nowhere, &url);
    assert!(!done && said.contains("there is no database") && !nowhere.exists(), "{said}");

    let host = Setup::on(&url).start().await;
    let mut client = host.client().await;
    assert_eq!([client.seen("acme").await, client.seen("zenith").await], before);
    for (customer, key, answer) in charged {
        let again = client.charge(customer, key, 1_000).await;
        assert!(again.replayed, "{}", again.body);
        assert_eq!(again.expect(201), answer);
    }
    client.charge("acme", "d", 1_000).await.expect(201);
    assert!(host.terminate().await.success());
    let (fine, text) = verify_database(&url);
    assert!(fine, "{text}");
}
