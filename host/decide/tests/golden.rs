//! The play that golden journals are written from: every kind of event, with every field. Ignored: it writes a file. See
//! `host/ledger/tests/golden/README.md`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use proviso_ledger::{journal::FORMAT, model::ids::hex, state::CustomerState};
use std::{fmt::Write, fs, path::PathBuf};
use support::script::{START, play};

const PLAY: &str = r#"
    plan pro month {"allowances": [{"amount": "1000", "cost": {"amount": "99.99", "currency": "EUR"}}, {"amount": "25", "category": "promotional", "allowance": "full", "features": ["chat"]}], "rollover": {"percent": "50", "max": "4000", "periods": 2, "priority": 3}, "overage": {"allow": "60"}, "settle": "invoice", "fee": "2", "counters": [{"window": "day"}, {"measure": "n", "scope": "entity", "window": {"hours": 24}}, {"measure": "n", "window": "period", "cap": "5000"}], "period_categories": ["trial"], "settle_from": "reset"}
    plan max month {"allowances": [{"amount": "1500"}], "overage": {"top_up": "100"}, "counters": [{"window": "month"}, {"window": "lifetime"}]}
    plan mini month {"allowances": [{"amount": "10"}], "overage": {"reduce": "8"}, "rollover": {"percent": "100"}}
    plan roomy month {"allowances": [{"amount": "5000"}]}
    plan tiny month {"allowances": [{"amount": "100"}]}
    plan buy month policy=bad {"allowances": [{"amount": "10"}], "overage": "purchase", "rollover": {"percent": "100"}}
    gives starter month {"grants": [{"key": "included", "amount": "12", "cost_basis": {"amount": "1.20", "currency": "EUR"}}, {"key": "welcome", "amount": "3", "category": "promotional", "recurrence": "once", "features": ["chat"]}], "trial": {"duration": {"unit": "hour", "count": 6}, "grants": [{"key": "try", "amount": "2"}], "then": {"plan": "max"}}}
    customer plan=pro zone=Europe/Berlin name=Ann key=k1 by=ops described
    grant 40 trial priority=-1 key=k2 by=ops described
    grant 30 prepaid paid=9.90 expires=+20d scope=chat,image
    grant 7 promotional with=1
    adjust 5
    adjust -3
    entity team key=k9 by=ops described
    entity ann parent=team
    entity passing parent=ann
    forget passing
    budget team entity=team window=week limit=10 scope=image,chat key=k10 by=ops
    budget large model=large window=hours:24 quantity=n limit=4 soft warn=50,100
    budget all window=lifetime credit=tokens limit=1
    h: reserve 2 entity=ann model=large
    charge 9 entity=ann model=large
    commit h 3
    charge 8 entity=ann
    budget team limit=100000
    unbudget all
    charge 12.5 entity=ann key=k3 described
    charge 3 feature=image
    charge 4 of=+1m
    override image off to=+50d
    charge 1 feature=image
    plain image
    r: reserve 100 entity=ann key=k4
    commit r 130 key=k5
    g: charge 5
    refund g n=1
    q: reserve 6
    commit q -1
    s: reserve 50
    extend s 3600
    release s
    t: reserve 20 ttl=60
    l: lease 20 scope=chat,image entity=ann key=k15 by=ops ttl=60
    settle l 3 entity=ann model=large key=k16 described
    more l 25 ttl=60 key=k17 by=ops
    ll: lease 1
    unlease ll
    at +2m
    settle l 2
    check 5
    void promotional1
    terms shadow zone=Asia/Kolkata contract=C-7 note=agreed {"price": "2", "counters": [{"window": "day"}]}
    terms shadow to=+5d2h {"faults": ["rate"]}
    terms from=+5d to=+6d on_fault=plan {"faults": ["rate"], "price": "3"}
    terms from=+5d2h to=+5d3h {"faults": ["rate"]}
    at +5d1h
    charge 2
    at +5d2h
    charge 2
    f: charge 2
    refund f 0.5
    refund f
    at +21d
    terms to=+22d {"overage": {"allow": "3000"}, "counters": [{"window": "day"}]}
    charge 3000
    u: reserve 5
    commit u 5
    at +22d
    charge -1
    at +22d12h
    reset
    y: reserve 40 ttl=86400
    customer plan=max
    commit y 10
    charge 1600
    customer plan=buy
    charge 5000
    repeated 3
    z: reserve 4 ttl=86400
    at +30d20h
    extend z 86400
    module bad gone
    at +31d
    charge 1
    module bad back
    charge 2
    retry 4
    retry 5
    charge 3 of=+30d
    at +32d
    customer plan=roomy
    charge 50
    v: reserve 3000 ttl=86400
    customer plan=tiny
    charge 4000
    topup threshold=0 amount=4000 failures=1
    charge 4000
    decline reason=card_expired by=ops key=k13
    topup threshold=99999999
    decline
    untopup credits by=ops key=k14
    commit v 200
    customer plan=mini allowance=prorate
    reset
    x: reserve 30
    charge 30
    commit x 60
    at +40d
    terms from=+50d {"overage": "deny", "period_categories": ["trial"], "settle_from": "never"}
    end last +60d
    customer anchor=2026-01-09T12:00:00Z
    change pro when=period_end by=ops key=k7
    cancel by=ops
    change max when=+41d allowance=prorate key=k8
    at +41d
    sells max {"grants": [{"key": "more", "amount": "7"}]}
    migrate max 2 by=ops
    migrate max 1 period_end by=ops
    topup credit=tokens threshold=5 target=50 most=2 per=day cool=60 wait=60 failures=2 price=0.02 priority=1 hours=48 key=k11 by=ops
    pay credit=tokens payment=pi_1 paid=0.90 by=ops key=k12
    adjust -48 credit=tokens
    at +41d90s
    pay credit=tokens payment=pi_2
    adjust -48 credit=tokens
    untopup tokens by=ops
    addon seats hour {"grants": [{"key": "more", "amount": "5", "features": ["image"], "cost_basis": {"amount": "1.5", "currency": "EUR"}}, {"key": "hello", "amount": "2", "recurrence": "once", "features": ["image"]}], "entitlements": {"image": {"type": "static", "value": 3}}}
    attach seats 2 to=+45d key=k17 by=ops
    attach seats 3
    customer plan=starter
    at +41d6h90s
    detach seats void by=ops
    bundle pack 50 price=4.95 days=30 scope=image priority=2
    buy pack 3 payment=pi_3 key=k15 by=ops
    promotion SPRING 20 days=7 scope=image
    redeem SPRING 4 key=k16 by=ops
    w: reserve 1
    refund g reissue
    moved 100 prepaid id=g-1 used=40 voided=5 paid=9.90 scope=image key=k11 by=ops described
    moved 60 plan id=g-2 used=10 with=0 scope=image
    owed 3 id=o-1 credit=tokens
    used_there 5 id=u-1 of=2024-05-06T07:08:09Z cost=1.5 paid=1 entity=ann model=large
    used_there 2 id=u-2 of=2024-05-06T07:08:09Z cost=0.5 refund
    terms to=+42d {"overage": {"allow": "9"}, "settle": "invoice"}
    o: reserve 1
    close by=ops key=k6
    commit w 3
    commit o 9000
"#;

#[test]
#[ignore = "writes a file; see host/ledger/tests/golden/README.md"]
fn write_the_golden_journal() {
    let world = play(START, PLAY).world;
    let mut text = String::new();
    for written in &world.entries {
        let line = serde_json::json!({ "hash": hex(written.hash), "body": written.body });
        writeln!(text, "{line}").unwrap();
    }
    let end = serde_json::json!({ "end": comes_to(&world.state) });
    writeln!(text, "{end}").unwrap();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ledger/tests/golden");
    fs::write(folder.join(format!("v{FORMAT}-every-event.jsonl")), text).unwrap();
}

/// As in `host/ledger/tests/golden.rs`.
fn comes_to(state: &CustomerState) -> serde_json::Value {
    let grants: Vec<serde_json::Value> = state
        .grants
        .iter()
        .map(|grant| {
            serde_json::json!([
                grant.grant.id,
                grant.status,
                grant.remaining,
                grant.held,
                grant.spent,
                grant.expired
            ])
        })
        .collect();
    serde_json::json!({
        "seq": state.seq, "accounts": state.accounts, "grants": grants, "period": state.period,
        "reservations": state.reservations.keys().collect::<Vec<_>>(), "counters": state.counters,
        "closed": state.closed, "entities": state.entities, "budgets": state.budgets, "warned": state.warned,
        "top_ups": state.auto_top_ups,
    })
}
