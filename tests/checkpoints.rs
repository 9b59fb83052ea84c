//! Checkpoints as an operator uses them: made while a host runs, kept elsewhere, and compared with what is there later.

use crate::support::{self, Host, Setup};
use std::{ffi::OsStr, fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

/// A verb on a folder of data: its exit code, and what it said.
fn run(verb: &str, data: &Path, arguments: &[&OsStr]) -> (Option<i32>, String) {
    support::run(verb, &[&[OsStr::new("--data-dir"), data.as_os_str()], arguments].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_made_kept_and_compared() {
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("checkpoint.jsonl");
    let out = [OsStr::new("--out"), file.as_os_str()];
    let with_file = [OsStr::new("--checkpoint"), file.as_os_str()];

    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    client.charge("acme", "a", 1_000).await.expect(201);
    let data = host.data.clone();
    assert!(host.terminate().await.success());
    let backup = Arc::new(tempfile::tempdir().unwrap());
    fs::copy(data.path().join("proviso.db"), backup.path().join("proviso.db")).unwrap();

    // While a host runs.
    let host = Setup::within(data.clone()).start().await;
    let mut client = host.client().await;
    client.charge("acme", "b", 1_000).await.expect(201);
    client.customer("zenith").await;
    let (code, said) = run("checkpoint", data.path(), &out);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("wrote a checkpoint of 2 journals to "), "{said}");
    let key = said.trim_end().rsplit(' ').next().unwrap().to_owned();
    let secret = fs::metadata(data.path().join("checkpoint.key")).unwrap();
    assert_eq!((secret.len(), secret.permissions().mode() & 0o777), (32, 0o600));
    let (code, said) = run("checkpoint", data.path(), &out);
    assert!(code == Some(1) && said.contains("exists"), "{said}");
    client.charge("acme", "c", 1_000).await.expect(201);
    let (code, said) = run("verify", data.path(), &with_file);
    assert_eq!(code, Some(0), "{said}");
    assert!(host.terminate().await.success());

    // A restored backup, on a machine that does not have the key.
    let (code, said) = run("verify", backup.path(), &with_file);
    assert!(code == Some(1) && said.starts_with("older "), "{said}");
    assert!(said.contains("1 journal ends earlier and 1 customer is not there"), "{said}");
    assert!(said.contains(&format!("checkpoints are signed by {key}; name the key")), "{said}");
    let trusting = |key: &str| {
        let key = OsStr::new("--checkpoint-key").to_owned().into_string().unwrap() + "=" + key;
        run("verify", backup.path(), &[with_file[0], with_file[1], OsStr::new(&key)])
    };
    let (code, said) = trusting(&key);
    assert!(code == Some(1) && said.starts_with("older ") && !said.contains("signed by"), "{said}");
    let (code, said) = trusting(&"00".repeat(32));
    assert!(code == Some(1) && said.starts_with("differs ") && said.contains(&key), "{said}");
    let (code, said) = trusting("nonsense");
    assert!(code == Some(2) && said.contains("64 hexadecimal digits"), "{said}");
    // Nothing can be signed there.
    let other = kept.path().join("other.jsonl");
    let (code, said) = run("checkpoint", backup.path(), &[OsStr::new("--out"), other.as_os_str()]);
    assert!(code == Some(1) && said.contains("no key to sign with") && !other.exists(), "{said}");
}
