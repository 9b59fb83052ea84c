//! What must hold of every usage, tried on generated ones: the policy never fails, costs nothing below zero, answers the same when
//! asked twice, and, where a file says so, costs no less for more of a quantity. Usages are made of those that the file's cases have;
//! which ones is told by a seed, so that a run can be repeated. What breaks a property is made smaller and written as a case.

use super::{
    Subject,
    files::Read,
    format::{self, Case, GrantStep, Step, UsageStep},
    play::{Play, Played},
    report::{Failure, Ran},
};
use crate::{clock::Stopwatch, random::Random, span::Span};
use proviso_api::{maps::Quantities, usage::Usage};
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    grant::Category,
};
use std::{fmt::Write as _, time::Duration};
use toml::Spanned;

/// What customers have in most runs, so that the cost alone decides.
const GRANTED: &str = "1000000000";
/// The longest time before the usage.
const DAYS: u64 = 45;
/// How often something smaller is tried.
const SHRINKS: usize = 200;

/// A usage, and what happened before it.
#[derive(Clone)]
struct Scene<'a> {
    case: &'a Spanned<Case>,
    granted: bool,
    advance_s: u64,
    before: Vec<Usage>,
    usage: Usage,
}

/// Tries so many usages; none when no case of the file has a usage to make others of.
pub fn run(subject: &Subject, read: &Read, runs: u32, seed: u64) -> Option<Ran> {
    let started = Stopwatch::start();
    let cases = read
        .file
        .cases
        .iter()
        .filter(|case| case.get_ref().steps.iter().any(|step| usage_of(step).is_some()));
    let cases: Vec<&Spanned<Case>> = cases.collect();
    let mut numbers = Random(seed);
    let mut ran = Ran {
        file: read.path.display().to_string(),
        name: format!("properties of {runs} usages, seed {seed}"),
        line: 1,
        steps: 0,
        took: Duration::ZERO,
        failure: None,
        edits: Vec::new(),
    };
    for _ in 0..runs {
        let scene = scene(&cases, &mut numbers)?;
        if let Some(broken) = judge(subject, read, &scene) {
            let (scene, broken) = shrunk(subject, read, scene, broken);
            let line = format::line(&read.text, scene.case);
            let mut failure = Failure::of_case(line, broken);
            failure.hints.push(format!(
                "as a case, with the setup of {:?}:\n{}",
                scene.case.get_ref().name,
                written(&scene)
            ));
            ran.failure = Some(failure);
            break;
        }
        ran.steps += 1;
    }
    ran.took = Duration::from_micros(started.micros());
    Some(ran)
}

fn usage_of(step: &Spanned<Step>) -> Option<&Usage> {
    let Step { charge, check, reserve, .. } = step.get_ref();
    let usage = charge.as_ref().or(check.as_ref()).map(|step| &step.0);
    usage.or_else(|| reserve.as_ref().map(|reserve| &reserve.usage))
}

fn scene<'a>(cases: &[&'a Spanned<Case>], numbers: &mut Random) -> Option<Scene<'a>> {
    let case = *numbers.pick(cases)?;
    let known: Vec<&Usage> = case.get_ref().steps.iter().filter_map(usage_of).collect();
    let before = (0..numbers.below(4)).filter_map(|_| usage(&known, numbers)).collect();
    Some(Scene {
        case,
        granted: numbers.below(4) > 0,
        advance_s: if numbers.below(2) == 0 { 0 } else { numbers.below(DAYS * 86_400) },
        before,
        usage: usage(&known, numbers)?,
    })
}

/// A usage like one of those known, with other quantities, and now and then without an attribute or its entity.
fn usage(known: &[&Usage], numbers: &mut Random) -> Option<Usage> {
    let mut usage = (*numbers.pick(known)?).clone();
    usage.occurred_at = None;
    for (_, amount) in &mut usage.quantities.0 {
        let seen =
            amount.to_string().split('.').next().and_then(|whole| whole.parse::<u64>().ok()).unwrap_or(0);
        let near = [
            0,
            1,
            seen,
            seen.saturating_sub(1),
            seen.saturating_add(1),
            seen.saturating_mul(2),
            seen.saturating_mul(10),
        ];
        let power = u32::try_from(numbers.below(10)).unwrap_or(0);
        let any = numbers.below(10_u64.saturating_pow(power).saturating_mul(10));
        let chosen = numbers.pick(&near).copied().filter(|_| numbers.below(2) == 0).unwrap_or(any);
        *amount = whole(chosen).unwrap_or(*amount);
    }
    if numbers.below(8) == 0 {
        usage.attributes.0.pop();
    }
    if numbers.below(16) == 0 {
        usage.entity = None;
    }
    Some(usage)
}

fn whole(amount: u64) -> Option<Quantity> {
    amount.to_string().parse().ok()
}

/// The property that a scene breaks, in words.
fn judge(subject: &Subject, read: &Read, scene: &Scene<'_>) -> Option<String> {
    // A case that can't begin fails by itself.
    let mut play = Play::begin(subject, &read.file, scene.case.get_ref()).ok()?;
    for step in opening(scene) {
        let faults = play.step(&step).ok()?.faults();
        if !faults.is_empty() {
            return Some(format!("never fails: {}", faults.join("\n")));
        }
    }
    let ask = |play: &mut Play<'_>, usage: &Usage| {
        let step = Step { check: Some(UsageStep(usage.clone())), ..Step::default() };
        play.step(&step).ok().map(|played| Answer::of(&played))
    };
    let first = ask(&mut play, &scene.usage)?;
    if !first.faults.is_empty() {
        return Some(format!("never fails: {}", first.faults.join("\n")));
    }
    if let Some(cost) = first.cost.filter(|cost| cost.is_negative()) {
        return Some(format!("never costs less than nothing: it costs {cost}"));
    }
    let again = ask(&mut play, &scene.usage)?;
    if again != first {
        return Some(format!("answers the same when asked twice: first {first:?}, then {again:?}"));
    }
    for name in &read.file.properties.monotonic {
        let mut more = scene.usage.clone();
        let Some((_, amount)) = more.quantities.0.iter_mut().find(|(known, _)| known == name) else {
            continue;
        };
        *amount = amount.checked_add(Quantity::ONE)?;
        let (more_amount, dearer) = (*amount, ask(&mut play, &more)?);
        if let (Some(cost), Some(more_cost)) = (first.cost, dearer.cost)
            && more_cost < cost
        {
            let amount =
                scene.usage.quantities.0.iter().find(|(known, _)| known == name).map(|(_, amount)| *amount);
            let amount = amount.unwrap_or_default();
            return Some(format!(
                "costs no less for more {name}: {amount} cost {cost}, and {more_amount} cost {more_cost}"
            ));
        }
    }
    None
}

/// An answer to a check.
#[derive(Debug, PartialEq)]
struct Answer {
    cost: Option<Credits>,
    code: Option<String>,
    fuel: u64,
    faults: Vec<String>,
}

impl Answer {
    fn of(played: &Played<'_>) -> Self {
        Self { cost: played.cost(), code: played.code(), fuel: played.fuel(), faults: played.faults() }
    }
}

/// What happens before the usage.
fn opening(scene: &Scene<'_>) -> Vec<Step> {
    let advance = Some(Span(Duration::from_secs(scene.advance_s))).filter(|_| scene.advance_s > 0);
    let grant = GRANTED.parse().ok().filter(|_| scene.granted).map(grant);
    let mut steps = vec![Step { advance, grant, ..Step::default() }];
    let charges =
        scene.before.iter().map(|usage| Step { charge: Some(UsageStep(usage.clone())), ..Step::default() });
    steps.extend(charges);
    steps
}

fn grant(amount: Credits) -> GrantStep {
    GrantStep {
        r#as: None,
        amount,
        category: Category::Prepaid,
        credit: None,
        priority: 0,
        effective_at: None,
        expires_at: None,
        expires_with_period: None,
        features: Vec::new(),
        cost_basis: None,
    }
}

/// The smallest scene found that still breaks a property, and what it breaks.
fn shrunk<'a>(
    subject: &Subject,
    read: &Read,
    mut scene: Scene<'a>,
    mut broken: String,
) -> (Scene<'a>, String) {
    let mut left = SHRINKS;
    while let Some((smaller, why)) = smaller(&scene).into_iter().find_map(|smaller| {
        left = left.checked_sub(1)?;
        judge(subject, read, &smaller).map(|why| (smaller, why))
    }) {
        (scene, broken) = (smaller, why);
    }
    (scene, broken)
}

fn smaller<'a>(scene: &Scene<'a>) -> Vec<Scene<'a>> {
    let mut all = Vec::new();
    for place in 0..scene.before.len() {
        let mut less = scene.clone();
        less.before.remove(place);
        all.push(less);
    }
    if scene.advance_s > 0 {
        all.push(Scene { advance_s: 0, ..scene.clone() });
    }
    if scene.granted {
        all.push(Scene { granted: false, ..scene.clone() });
    }
    if scene.usage.entity.is_some() {
        let mut less = scene.clone();
        less.usage.entity = None;
        all.push(less);
    }
    for place in 0..scene.usage.attributes.0.len() {
        let mut less = scene.clone();
        less.usage.attributes.0.remove(place);
        all.push(less);
    }
    for (place, (_, amount)) in scene.usage.quantities.0.iter().enumerate() {
        let mut without = scene.clone();
        without.usage.quantities.0.remove(place);
        all.push(without);
        let now =
            amount.to_string().split('.').next().and_then(|whole| whole.parse::<u64>().ok()).unwrap_or(0);
        for less in [0, now / 10, now / 2, now.saturating_sub(1)].into_iter().filter(|less| *less < now) {
            let mut scene = scene.clone();
            if let (Some((_, amount)), Some(less)) = (scene.usage.quantities.0.get_mut(place), whole(less)) {
                *amount = less;
            }
            all.push(scene);
        }
    }
    all
}

/// A scene as a case, to be pasted into a file.
fn written(scene: &Scene<'_>) -> String {
    let mut text = "[[case]]\nname = \"found by --properties\"\nsteps = [\n".to_owned();
    let mut begin = Vec::new();
    if scene.advance_s > 0 {
        begin.push(format!("advance = \"{}s\"", scene.advance_s));
    }
    if scene.granted {
        begin.push(format!("grant = {{ amount = \"{GRANTED}\" }}"));
    }
    // Writing to a String does not fail.
    if !begin.is_empty() {
        let _ = writeln!(text, "    {{ {} }},", begin.join(", "));
    }
    for usage in &scene.before {
        let _ = writeln!(text, "    {{ charge = {} }},", usage_text(usage));
    }
    let _ = write!(text, "    {{ check = {} }},\n]", usage_text(&scene.usage));
    text
}

fn usage_text(usage: &Usage) -> String {
    // JSON's strings are TOML's.
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let table = |pairs: Vec<String>| format!("{{ {} }}", pairs.join(", "));
    let mut fields = vec![format!("feature = {}", text(usage.feature.as_str()))];
    let Quantities(quantities) = &usage.quantities;
    if !quantities.is_empty() {
        let amounts = quantities.iter().map(|(name, amount)| format!("{} = \"{amount}\"", text(name)));
        fields.push(format!("quantities = {}", table(amounts.collect())));
    }
    if !usage.attributes.0.is_empty() {
        let attributes =
            usage.attributes.0.iter().map(|(name, value)| format!("{} = {}", text(name), text(value)));
        fields.push(format!("attributes = {}", table(attributes.collect())));
    }
    if let Some(entity) = &usage.entity {
        fields.push(format!("entity = {}", text(entity.as_str())));
    }
    table(fields)
}
