//! Troubles that last: customers that can't be swept, and a disk that is full. Under virtual time, as all here.

use crate::{World, clients, simulate};
use proviso_engine::{Change, Expected};
use proviso_engine::{EngineError, Options, StoreError};
use proviso_fixtures::host::{self, key, settings};
use std::{collections::HashSet, rc::Rc, sync::LazyLock, time::Duration};

async fn world() -> Rc<World> {
    let world = Rc::new(World::new(1, true));
    clients::install(&world).await;
    let host = world.start_host(0).await;
    world.hosts.borrow_mut().push(host);
    clients::prepare(&world).await;
    world
}

#[test]
fn a_customer_that_fails_holds_up_nobody_elses_period() {
    LazyLock::force(&clients::POLICY);
    simulate(async {
        let world = world().await;
        // More than the sweeper looks up at once, and due before all others.
        let broken: Vec<_> = (0..300).map(|number| format!("broken-{number}")).collect();
        let host = world.first_host();
        for customer in broken.iter().map(String::as_str).chain(["zoe"]) {
            host.customer(customer, Some("pro")).await;
        }
        world.database.damage(broken.iter().map(|customer| key(customer)).collect());
        // Another host, which has none of them in memory.
        world.kill(0).await;
        let host = world.first_host();
        host.at("2026-02-20T00:00:00Z");
        tokio::time::sleep(Duration::from_secs(30)).await;
        let periods = |customer: &str| {
            let entries = world.database.model().entries(&key(customer)).into_iter();
            entries.filter(|entry| entry.body.contains("\"period_opened\"")).count()
        };
        assert_eq!(periods("zoe"), 2, "started, and closed by the sweeper");
        assert_eq!(broken.iter().map(|customer| periods(customer)).max(), Some(1));
        // 5 attempts of each in 30 s: at once, and 1, 3, 7 and 15 s later.
        let failures = host.engine.stats().sweep_failures();
        assert!((4 * 300..=6 * 300).contains(&failures), "{failures}");
        // What is mended is swept by itself.
        world.database.damage(HashSet::new());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(broken.iter().map(|customer| periods(customer)).min(), Some(2));
    });
}

#[test]
fn a_host_that_cannot_write_says_so_and_says_when_it_can_again() {
    LazyLock::force(&clients::POLICY);
    simulate(async {
        let world = world().await;
        let host = world.first_host();
        let wait = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
        world.database.fill(true);
        wait(60).await;
        host.engine.check_ready().await.expect("nothing was to be written");
        let failed = host.entry("c0", host::charge(1), None).await;
        assert!(matches!(failed, Err(EngineError::Store(StoreError::DiskFull))), "{failed:?}");
        wait(8).await;
        host.engine.check_ready().await.expect("it may be a matter of seconds");
        wait(4).await;
        let ready = host.engine.check_ready().await;
        assert!(matches!(ready, Err(EngineError::Store(StoreError::Unavailable { .. }))), "{ready:?}");
        // Nobody asks a host that is not ready for anything: it finds out by itself.
        world.database.fill(false);
        wait(2 * Options::default().sweep_every.as_secs()).await;
        host.engine.check_ready().await.expect("writing works again");
        // The catalog, too.
        world.database.fill(true);
        let failed =
            host.engine.put_policy(key("late"), Change::Clear, Change::Keep, Expected::Anything).await;
        assert!(failed.is_err());
        wait(12).await;
        assert!(host.engine.check_ready().await.is_err());
        world.database.fill(false);
        wait(2).await;
        host.engine.check_ready().await.expect("writing works again");
        host.put_plan(settings("0.002", "1000")).await;
    });
}
