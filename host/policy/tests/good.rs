//! A policy that does everything right is admitted, and every call arrives and returns whole.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod support;

use proviso_ledger::{
    credits::Credits,
    decision::{Line, Measure, Needs, Overage, Rating, Refusal, ResetOutcome, Scope, Window},
    time::Zone,
};
use support::{Draft, context, none, period, runtime, usage};

#[test]
fn a_good_policy_is_admitted_and_decides() {
    let admitted = runtime().admit(&Draft::good().build()).unwrap();
    let module = admitted.module;
    assert_eq!((module.manifest().name.as_str(), module.manifest().version.as_str()), ("good", "1.0.0"));
    assert_eq!(module.manifest().needs, Needs { balances: true, grants: true, customer_attributes: true });
    assert_eq!(admitted.shape.memories, 1);
    assert!(admitted.code_bytes > 1000);

    let prepared = module.prepare("{}").unwrap().value.unwrap();
    assert_eq!((prepared.form.as_slice(), prepared.counters.len()), (&b"form"[..], 0));

    let decided = module.rate(&usage(), &context(), &Zone::utc(), b"form").unwrap();
    let rating = decided.value.unwrap();
    assert_eq!(rating.lines.iter().map(|line| line.cost).collect::<Vec<_>>(), [rating.cost]);
    assert_eq!(decided.log, ["good"]);
    assert!(decided.fuel > 1000);
    let later = module.rate(&usage(), &context(), &Zone::utc(), b"fork").unwrap();
    assert_ne!(later.value.unwrap().cost, rating.cost, "the cost depends on every argument");

    let overage = module.overage(&usage(), &rating, Credits(5), &context(), &Zone::utc(), b"form").unwrap();
    assert_eq!(overage.value, Overage::Allow(Credits(0)));
    let reset = module.reset(Some(&period()), &period(), &context(), b"form").unwrap();
    assert_eq!(reset.value, ResetOutcome::default());
    assert_eq!(module.reset(None, &period(), &context(), b"form").unwrap().value, ResetOutcome::default());
}

#[test]
fn results_arrive_whole() {
    let mut draft = Draft::good();
    draft.prepared(
        b"",
        &[["tokens", "quantity:input_tokens", "attribute:model", "day"], ["c", "cost", "entity", "lifetime"]],
    );
    draft.rating("gpu", 12, &[("first", 5), ("second", 7)], &["grant_3", "grant_1_2"]);
    draft.overage_allow(9);
    let notes = draft.image.texts(&["Nothing to do."]);
    let expire = draft.image.texts(&["grant_3"]);
    draft.reset(&[none(), expire, none(), none(), none(), notes]);
    let module = runtime().admit(&draft.build()).unwrap().module;

    let counters = module.prepare("").unwrap().value.unwrap().counters;
    let seen: Vec<_> =
        counters.iter().map(|c| (&*c.name, c.measure.clone(), c.scope.clone(), c.window)).collect();
    assert_eq!(
        seen,
        [
            (
                "tokens",
                Measure::Quantity("input_tokens".into()),
                Scope::Attribute("model".into()),
                Window::Day
            ),
            ("c", Measure::Cost, Scope::Entity, Window::Lifetime)
        ]
    );
    let Rating { credit, cost, lines, draw_order } =
        module.rate(&usage(), &context(), &Zone::utc(), b"").unwrap().value.unwrap();
    assert_eq!((credit.as_str(), cost), ("gpu", Credits(12)));
    assert_eq!(
        lines.iter().map(|Line { label, cost, .. }| (label.as_str(), cost.0)).collect::<Vec<_>>(),
        [("first", 5), ("second", 7)]
    );
    assert_eq!(draw_order.iter().map(ToString::to_string).collect::<Vec<_>>(), ["grant_3", "grant_1_2"]);
    let outcome = module.reset(None, &period(), &context(), b"").unwrap().value;
    assert_eq!((outcome.notes.as_slice(), outcome.expire.len()), (&["Nothing to do.".to_owned()][..], 1));
}

#[test]
fn a_refusal_is_a_result() {
    let mut draft = Draft::good();
    draft.refusal("too_late_today");
    let module = runtime().admit(&draft.build()).unwrap().module;
    let decided = module.rate(&usage(), &context(), &Zone::utc(), b"").unwrap();
    let refusal = Refusal { code: "too_late_today".into(), detail: "Because.".into(), retry_at: None };
    assert_eq!(decided.value, Err(refusal));
}

#[test]
fn lists_that_the_manifest_does_not_need_are_not_handed_over() {
    let mut draft = Draft::good();
    draft.manifest("good", "1.0.0", "{}", &[]);
    let module = runtime().admit(&draft.build()).unwrap().module;
    let mut bare = context();
    bare.balances.clear();
    bare.grants.clear();
    bare.attributes.clear();
    let rate = |context| module.rate(&usage(), context, &Zone::utc(), b"").unwrap();
    assert_eq!(rate(&context()), rate(&bare));
}
