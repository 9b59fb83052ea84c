//! Every list of the interface at its bound and one above, and customers with as many grants as the ledger keeps: what the
//! ledger and the settings allow, a policy can be shown and can answer.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use proviso_decide::policy::Decided;
use proviso_fixtures::guest::{
    Draft, Failure, NEVER, NO_MONEY, Policy, Slice, closing, context, none, opening, parts, rating, runtime,
    slice, usage, view,
};
use proviso_ledger::model::{
    amounts::Credits,
    ids::GrantId,
    resources::ResourceClass,
    view::{Context, Expiry, GrantView},
};
use proviso_policy::{Module, PolicyError, Runtime};
use std::sync::{Arc, LazyLock};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(runtime);

/// Where the guest below writes the items of a list.
const LIST_AT: u32 = 1 << 20;

/// A policy whose `export` returns `record`, after it has written `count` times `item` at [`LIST_AT`].
fn repeating(mut draft: Draft, export: &'static str, record: &[u8], item: &[u8], count: u32) -> Draft {
    draft.memory = "(memory (export \"memory\") 48)".to_owned();
    let (record, item, size) = (draft.image.put(record), draft.image.put(item), item.len());
    let body = format!(
        "(local $to i32) (local.set $to (i32.const {LIST_AT}))
        (block $done (loop $next
          (br_if $done (i32.ge_u (local.get $to) (i32.const {end})))
          (memory.copy (local.get $to) (i32.const {item}) (i32.const {size}))
          (local.set $to (i32.add (local.get $to) (i32.const {size})))
          (br $next)))
        (i32.const {record})",
        end = LIST_AT + count * u32::try_from(size).unwrap(),
    );
    draft.body(export, &body)
}

/// The list that [`repeating`] writes.
fn list(count: u32) -> Slice {
    slice(LIST_AT, count)
}

type Record = fn(&mut Draft, Slice) -> Vec<u8>;
type Item = fn(&mut Draft) -> Vec<u8>;
type Ask = fn(&Module) -> Result<(), Failure>;

/// The list may have `most` items and no more; `name` is how a failure calls it.
fn check(name: &str, export: &'static str, most: u32, record: Record, item: Item, ask: Ask) {
    let answer = |count| {
        let mut draft = Draft::good();
        let (record, item) = (record(&mut draft, list(count)), item(&mut draft));
        let admitted = RUNTIME.admit(&repeating(draft, export, &record, &item, count).build());
        match admitted {
            Ok(admitted) => ask(&admitted.module).map_err(|failure| (failure.code, failure.detail)),
            Err(PolicyError::Rejected(rejection)) => {
                Err((rejection.0[0].code, rejection.0[0].detail.clone()))
            }
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(answer(most), Ok(()), "{name} at its bound");
    let detail = format!("invalid output: {name}: has {} items, the limit is {most}", most + 1);
    assert_eq!(answer(most + 1), Err(("invalid_output", detail)), "{name} above its bound");
}

/// An answer's texts for people go into each entry.
fn is_short<'a>(texts: impl Iterator<Item = &'a String>) {
    let bytes: usize = texts.map(|text| text.len()).sum();
    assert!(bytes <= 8 << 10, "{bytes} bytes");
}

fn rate(module: &Module) -> Result<(), Failure> {
    module.rate(&view(&usage()), &context(), b"").map(|decided| match decided.value {
        Ok(rating) => is_short(rating.lines.iter().map(|line| &line.label)),
        Err(refusal) => is_short(refusal.suggestions.iter().map(|one| &one.detail).chain([&refusal.detail])),
    })
}

fn overage(module: &Module) -> Result<(), Failure> {
    module.overage(&view(&usage()), &rating(), Credits::ONE, &context(), b"").map(|_| ())
}

fn close(module: &Module) -> Result<(), Failure> {
    module.close(&closing(), &context(), b"").map(|Decided { value, .. }| {
        is_short(value.fees.iter().map(|fee| &fee.label).chain(&value.notes));
    })
}

fn open(module: &Module) -> Result<(), Failure> {
    module.open(&opening(), &context(), b"").map(|decided| is_short(decided.value.notes.iter()))
}

fn prepare(module: &Module) -> Result<(), Failure> {
    module.prepare("{}").map(|_| ())
}

fn label(draft: &mut Draft) -> Slice {
    draft.image.text(&"l".repeat(1_024))
}

fn longest_grant_id(draft: &mut Draft) -> Slice {
    draft.image.text("grant_1000000000_4000000000")
}

#[test]
fn settings() {
    check(
        "problems",
        "prepare",
        64,
        |_, list| [&[1, 0, 0, 0], &list[..], &[0; 32]].concat(),
        |d| [d.image.text("/a"), label(d)].concat(),
        prepare,
    );
    check(
        "counters",
        "prepare",
        32,
        |d, list| prepared(d, [list, none(), none()]),
        |draft| {
            let [name, measure, scope, window] =
                ["c", "quantity:tokens", "attribute:model", "hours:744"].map(|text| draft.image.text(text));
            [name, measure, none(), scope, window].concat()
        },
        prepare,
    );
    check(
        "features",
        "prepare",
        1_000,
        |d, list| prepared(d, [none(), list, none()]),
        |draft| {
            let key = draft.image.text(&"k".repeat(128));
            [&[1, 0, 0, 0], &key[..], &key[..]].concat()
        },
        prepare,
    );
    check(
        "period-categories",
        "prepare",
        8,
        |d, list| prepared(d, [none(), none(), list]),
        |draft| draft.image.text("plan").to_vec(),
        prepare,
    );
}

fn prepared(draft: &mut Draft, [counters, features, categories]: [Slice; 3]) -> Vec<u8> {
    let settle = draft.image.text("never");
    [&[0; 4][..], &none(), &counters, &features, &settle, &categories].concat()
}

#[test]
fn features_of_a_counter() {
    let record: Record = |draft, list| {
        let [name, measure, scope, window] =
            ["c", "cost", "customer", "period"].map(|text| draft.image.text(text));
        let counter = [name, measure, list, scope, window].concat();
        let counters = draft.image.slice(&counter, 1);
        prepared(draft, [counters, none(), none()])
    };
    let key: Item = |draft| draft.image.text(&"k".repeat(128)).to_vec();
    check("counters[0].features", "prepare", 1_000, record, key, prepare);
}

#[test]
fn ratings_and_refusals() {
    check(
        "lines",
        "rate",
        256,
        |d, list| rating_with(d, list, none()),
        |draft| [&label(draft)[..], &parts(1, 0), &parts(0, 0), &parts(0, 0)].concat(),
        rate,
    );
    check(
        "draw-order",
        "rate",
        10_000,
        |d, list| rating_with(d, none(), list),
        |draft| longest_grant_id(draft).to_vec(),
        rate,
    );
    check(
        "suggestions",
        "rate",
        64,
        |draft, list| {
            [&[1, 0, 0, 0, 0, 0, 0, 0], &draft.raw_refusal("denied", "no", None, list)[..]].concat()
        },
        |draft| [label(draft), none(), none()].concat(),
        rate,
    );
    check(
        "deny.suggestions",
        "overage",
        64,
        |draft, list| {
            let refusal = draft.raw_refusal("denied", "no", None, list);
            [&[0; 8][..], &refusal, &[0; 32]].concat()
        },
        |draft| [label(draft), none(), none()].concat(),
        overage,
    );
    check(
        "require-purchase",
        "overage",
        64,
        |_, list| [&[2, 0, 0, 0, 0, 0, 0, 0], &list[..], &[0; 72]].concat(),
        |draft| {
            let code = draft.image.text("pack");
            [&code[..], &label(draft), &parts(1, 0), &NO_MONEY].concat()
        },
        overage,
    );
}

fn rating_with(draft: &mut Draft, lines: Slice, draw_order: Slice) -> Vec<u8> {
    let credit = draft.image.text("credits");
    [&[0; 8][..], &credit, &parts(0, 0), &lines, &draw_order].concat()
}

/// An outcome of so many lists, of which the one at `nth` is not empty.
fn outcome<const LISTS: usize>(nth: usize, list: Slice) -> Vec<u8> {
    let mut lists = [none(); LISTS];
    lists[nth] = list;
    lists.concat()
}

#[test]
fn closings() {
    check(
        "roll-over",
        "close",
        10_000,
        |_, list| outcome::<5>(0, list),
        |draft| {
            let id = longest_grant_id(draft);
            [&id[..], &parts(1, 0), &parts(0, 0), &parts(0, 0), &[0; 8], &NEVER].concat()
        },
        close,
    );
    check(
        "expire",
        "close",
        10_000,
        |_, list| outcome::<5>(1, list),
        |draft| longest_grant_id(draft).to_vec(),
        close,
    );
    check(
        "fees",
        "close",
        256,
        |_, list| outcome::<5>(2, list),
        |draft| {
            let credit = draft.image.text("credits");
            let label = label(draft);
            [&credit[..], &label, &parts(1, 0), &draft.image.text("drawn")].concat()
        },
        close,
    );
    check("settle", "close", 10_000, |_, list| outcome::<5>(3, list), settlement, close);
    check("notes", "close", 64, |_, list| outcome::<5>(4, list), |draft| label(draft).to_vec(), close);
}

#[test]
fn openings() {
    check("issue", "open", 10_000, |_, list| outcome::<3>(0, list), |draft| new_grant(draft, none()), open);
    check("settle", "open", 10_000, |_, list| outcome::<3>(1, list), settlement, open);
    check("notes", "open", 64, |_, list| outcome::<3>(2, list), |draft| label(draft).to_vec(), open);
    check(
        "issue[0].features",
        "open",
        64,
        |draft, list| {
            let grant = new_grant(draft, list);
            outcome::<3>(0, draft.image.slice(&grant, 1))
        },
        |draft| draft.image.text(&"k".repeat(128)).to_vec(),
        open,
    );
}

fn settlement(draft: &mut Draft) -> Vec<u8> {
    let credit = draft.image.text(&"k".repeat(128));
    [&credit[..], &[0; 24], &draft.image.text("invoice")].concat()
}

fn new_grant(draft: &mut Draft, features: Slice) -> Vec<u8> {
    let [credit, category, allowance] = ["credits", "promotional", "full"].map(|text| draft.image.text(text));
    [&credit[..], &parts(1, 0), &category, &[0; 8], &[0; 16], &NEVER, &features, &NO_MONEY, &allowance]
        .concat()
}

/// The most grants that the ledger keeps live.
const GRANTS: u32 = 10_000;

/// Offsets of the list of grants in the arguments that begin with a usage, and with a closing.
const GRANTS_AFTER_USAGE: u32 = 136 + 232;
const GRANTS_AFTER_CLOSING: u32 = 128 + 232;

/// Reads every grant and makes an item of `size` bytes for each with its id; returns `record`, whose list is at `list`.
fn naming_all(grants_at: u32, size: u32, record: u32, list: u32, and: &str) -> String {
    format!(
        "(local $from i32) (local $end i32) (local $to i32)
        (local.set $from (i32.load offset={grants_at} (local.get 0)))
        (local.set $end (i32.add (local.get $from)
          (i32.mul (i32.load offset={count_at} (local.get 0)) (i32.const 152))))
        (local.set $to (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
          (i32.mul (i32.load offset={count_at} (local.get 0)) (i32.const {size}))))
        (i32.store (i32.const {list}) (local.get $to))
        (i32.store offset=4 (i32.const {list}) (i32.load offset={count_at} (local.get 0)))
        (block $done (loop $next
          (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
          (i64.store (local.get $to) (i64.load (local.get $from)))
          {and}
          (local.set $from (i32.add (local.get $from) (i32.const 152)))
          (local.set $to (i32.add (local.get $to) (i32.const {size})))
          (br $next)))
        (i32.const {record})",
        count_at = grants_at + 4,
    )
}

fn many_grants() -> Context {
    let mut context = context();
    let one = context.grants[3].clone();
    context.grants = (0..GRANTS)
        .map(|index| GrantView {
            id: GrantId { entry: 1_000_000, index },
            remaining: Credits::from_whole(i64::from(index) + 1),
            expires: Expiry::default(),
            features: vec!["chat".parse().unwrap(), "embed".parse().unwrap()],
            ..one.clone()
        })
        .collect();
    context
}

fn admit(mut draft: Draft, export: &'static str, body: &str) -> Arc<Module> {
    draft.make_space();
    RUNTIME.admit(&draft.body(export, body).build()).unwrap().module
}

#[test]
fn a_closing_rolls_over_and_expires_every_grant_of_a_large_customer() {
    let context = many_grants();
    let mut draft = Draft::good();
    let record = draft.image.put(&[0; 40]);
    // The amount is what remains.
    let amount =
        "(memory.copy (i32.add (local.get $to) (i32.const 8)) (i32.add (local.get $from) (i32.const 48))
        (i32.const 16))";
    let body = naming_all(GRANTS_AFTER_CLOSING, 88, record, record, amount);
    let decided = admit(draft, "close", &body).close(&closing(), &context, b"").unwrap();
    println!("close, roll over: {} fuel", decided.fuel);
    assert_eq!(decided.value.roll_over.len(), context.grants.len());
    for (rollover, grant) in decided.value.roll_over.iter().zip(&context.grants) {
        assert_eq!((rollover.grant, rollover.amount), (grant.id, grant.remaining));
    }
    let mut draft = Draft::good();
    let record = draft.image.put(&[0; 40]);
    let body = naming_all(GRANTS_AFTER_CLOSING, 8, record, record + 8, "");
    let decided = admit(draft, "close", &body).close(&closing(), &context, b"").unwrap();
    println!("close, expire: {} fuel", decided.fuel);
    assert!(decided.value.expire.iter().eq(context.grants.iter().map(|grant| &grant.id)));
}

#[test]
fn a_rating_draws_on_every_grant_of_a_large_customer() {
    let context = many_grants();
    let mut draft = Draft::good();
    let record = draft.rating("credits", 0, &[], &[]);
    let body = naming_all(GRANTS_AFTER_USAGE, 8, record, record + 40, "");
    let decided = admit(draft, "rate", &body).rate(&view(&usage()), &context, b"").unwrap();
    println!("rate: {} fuel", decided.fuel);
    assert!(decided.value.unwrap().draw_order.iter().eq(context.grants.iter().map(|grant| &grant.id)));
}

#[test]
fn a_class_says_how_much_a_policy_may_use() {
    let runtime = runtime();
    let fuel = |class| {
        let mut draft = Draft::good();
        let rating = draft.rating("credits", 0, &[], &[]);
        let endless = draft.body("rate", &format!("(loop $again (br $again)) (i32.const {rating})")).build();
        let module = runtime.admit(&endless).unwrap().module.in_class(class);
        let context = Context { grants: Vec::new(), ..context() };
        module.rate(&view(&usage()), &context, b"").unwrap_err().fuel
    };
    assert_eq!(
        [ResourceClass::Small, ResourceClass::Default, ResourceClass::Large].map(fuel),
        [750_000, 3_000_000, 30_000_000]
    );
    let limits = runtime.limits();
    let bytes = |class| limits.shape(class).bytes >> 20;
    assert_eq!([ResourceClass::Default, ResourceClass::Large].map(bytes), [1, 4]);
    let mut draft = Draft::good();
    // Data that makes the module larger than the default class allows.
    draft.memory =
        format!("(memory (export \"memory\") 60) (data (i32.const 1000000) \"{}\")", "x".repeat(1_200_000));
    let large = draft.build();
    let refused = runtime.admit(&large).unwrap_err().to_string();
    assert!(refused.contains("the limit is 1048576"), "{refused}");
    runtime.admit_in(ResourceClass::Large, &large).unwrap();
}
