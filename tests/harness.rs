//! The harness itself: what the other tests build on does what it says.

use crate::support::{
    cluster::{self, Cluster},
    proxy::{End, Proxy},
};
use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

#[test]
fn a_cluster_keeps_what_was_committed_over_a_crash_and_leaves_nothing() {
    let cluster = Cluster::start_new();
    let database = cluster.create_database();
    cluster.sql(&database, "create table kept as select 42 as answer");
    cluster.stop_immediate();
    assert!(cluster.processes().is_empty());
    cluster.start();
    assert_eq!(cluster.sql(&database, "select answer from kept"), "42");
    cluster.stop_fast();
    cluster.start();
    assert_eq!(cluster.sql(&database, "select answer, current_setting('fsync') from kept"), "42|on");
    let (folder, processes) = (cluster.folder().to_owned(), cluster.processes());
    assert!(processes.len() > 2, "{processes:?}");
    drop(cluster);
    assert!(!folder.exists());
    assert!(!processes.into_iter().any(cluster::is_alive));
}

#[test]
fn databases_of_the_shared_cluster_are_apart() {
    let shared = cluster::shared();
    let [one, other] = [shared.create_database(), shared.create_database()];
    shared.sql(&one, "create table here (x int)");
    assert_eq!(shared.sql(&other, "select count(*) from pg_tables where tablename = 'here'"), "0");
}

/// Answers each line with itself, once it is noted.
async fn echo() -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (note, notes) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let note = note.clone();
            tokio::spawn(async move {
                let (from, mut to) = stream.into_split();
                let mut lines = BufReader::new(from).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    note.send(line.clone()).unwrap();
                    to.write_all(format!("{line}\n").as_bytes()).await.unwrap();
                }
            });
        }
    });
    (port, notes)
}

struct Caller(BufReader<TcpStream>);

impl Caller {
    async fn connect(port: u16) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()))
    }

    /// Asks; what comes back, or how the connection ended.
    async fn ask(&mut self, line: &str) -> Result<String, Option<ErrorKind>> {
        let mut answer = String::new();
        let asked = async {
            self.0.get_mut().write_all(format!("{line}\n").as_bytes()).await?;
            self.0.read_line(&mut answer).await
        };
        match asked.await {
            Ok(0) => Err(None),
            Ok(_) => Ok(answer.trim_end().to_owned()),
            Err(error) => Err(Some(error.kind())),
        }
    }
}

#[tokio::test]
async fn a_proxy_breaks_what_it_is_told_to() {
    let (port, mut notes) = echo().await;
    let proxy = Proxy::before(port).await;
    let mut caller = Caller::connect(proxy.port()).await;
    assert_eq!(caller.ask("one").await, Ok("one".to_owned()));

    // The other side got the request, and its answer is lost; a request that was not meant gets through.
    let cut = proxy.cut_answer_to("two");
    assert_eq!(caller.ask("other").await, Ok("other".to_owned()));
    assert_eq!(caller.ask("two").await, Err(Some(ErrorKind::ConnectionReset)));
    cut.await.unwrap();
    for noted in ["one", "other", "two"] {
        assert_eq!(notes.recv().await.unwrap(), noted);
    }

    for (end, seen) in [(End::Reset, Some(ErrorKind::ConnectionReset)), (End::Finish, None)] {
        let mut caller = Caller::connect(proxy.port()).await;
        assert_eq!(caller.ask("before").await, Ok("before".to_owned()));
        proxy.drop_all(end);
        let mut byte = [0];
        let ended = caller.0.read(&mut byte).await;
        assert_eq!(ended.map_err(|error| error.kind()), seen.map_or(Ok(0), Err));
    }

    proxy.refuse(true);
    assert!(Caller::connect(proxy.port()).await.ask("refused").await.is_err());
    proxy.refuse(false);

    // Nothing moves, and then all of it.
    let mut caller = Caller::connect(proxy.port()).await;
    proxy.black_hole(true);
    let mut asked = Box::pin(caller.ask("held"));
    let held = tokio::time::timeout(Duration::from_millis(50), &mut asked).await;
    assert!(held.is_err());
    proxy.black_hole(false);
    assert_eq!(asked.await, Ok("held".to_owned()));

    proxy.delay(Duration::from_millis(20));
    let asked = Instant::now();
    assert_eq!(caller.ask("late").await, Ok("late".to_owned()));
    assert!(asked.elapsed() >= Duration::from_millis(40), "{:?}", asked.elapsed());
}
