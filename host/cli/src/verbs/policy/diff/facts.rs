//! What a step came to, field by field, as case files name it; where two policies differ in it; and the case that says so.

use super::scenario::{Base, Scenario, key, quoted};
use crate::verbs::policy::test::{
    self, Subject, files,
    format::{self, Case, CaseFile, Expect},
    observe,
    play::Play,
};
use std::{collections::BTreeMap, path::Path, sync::LazyLock};
use toml::Spanned;

/// Values that nothing has: what differs from them is what a step came to.
const NOTHING_LIKE: &str = r#"
code = "-"
cost = "999999999999999"
overage = "999999999999999"
retry_at = 1970-01-01T00:00:00.000001Z
lines = ["-"]
offers = ["-"]
suggestions = ["-"]
reduced_to = { "-" = "1" }
entries = ["-"]
notes = ["-"]
fees = { "-" = "1" }
settled = { "-" = "1" }
remaining = { "-" = "1" }
expires = { "-" = "never" }
"#;

static PROBE: LazyLock<Option<Expect>> = LazyLock::new(|| toml::from_str(NOTHING_LIKE).ok());

/// What a step came to: lines by field. Most fields have one.
pub type Facts = BTreeMap<String, Vec<String>>;

/// Where two policies part.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The first step at which they do.
    pub step: usize,
    pub old: Facts,
    /// Of that step and of those before it, which both agree on.
    pub new: Vec<Facts>,
}

impl Difference {
    /// The fields that differ, with both values.
    pub fn fields(&self) -> Vec<(&str, String, String)> {
        let Some(new) = self.new.last() else { return Vec::new() };
        let names = self.old.keys().chain(new.keys().filter(|name| !self.old.contains_key(*name)));
        let shown = |facts: &Facts, name: &String| match facts.get(name).map(Vec::as_slice) {
            None | Some([]) => "nothing".to_owned(),
            Some(lines) => lines.join("; "),
        };
        names
            .filter(|name| self.old.get(*name) != new.get(*name))
            .map(|name| (name.as_str(), shown(&self.old, name), shown(new, name)))
            .collect()
    }
}

/// What playing a case on both sides came to.
pub struct Played {
    /// The first difference; what comes after it is not played.
    pub difference: Option<Difference>,
    /// What kind of things happened to the old one, without their amounts: where it changes, a bound was passed.
    pub course: String,
}

/// Plays a case on both sides, step by step, up to the first difference. None for a case that can't be played.
pub fn play_both(
    old: (&Subject, &CaseFile, &Spanned<Case>),
    new: (&Subject, &CaseFile, &Spanned<Case>),
) -> Result<Option<Played>, String> {
    // Settings that one side refuses are a difference, too, but one without a case: nothing begins.
    let mut old_play =
        Play::begin(old.0, old.1, old.2.get_ref()).map_err(|mistake| format!("the old one: {mistake}"))?;
    let mut new_play =
        Play::begin(new.0, new.1, new.2.get_ref()).map_err(|mistake| format!("the new one: {mistake}"))?;
    let (mut seen, mut course) = (Vec::new(), String::new());
    for (nth, (old_step, new_step)) in old.2.get_ref().steps.iter().zip(&new.2.get_ref().steps).enumerate() {
        let (Ok(before), Ok(after)) =
            (facts(&mut old_play, old_step.get_ref()), facts(&mut new_play, new_step.get_ref()))
        else {
            return Ok(None);
        };
        add_course(&mut course, &before);
        let is_same = before == after;
        seen.push(after);
        if !is_same {
            let difference = Some(Difference { step: nth, old: before, new: seen });
            return Ok(Some(Played { difference, course }));
        }
    }
    Ok(Some(Played { difference: None, course }))
}

/// Codes, the labels of lines, and which grants, fees and the like there are.
fn add_course(course: &mut String, facts: &Facts) {
    for (field, lines) in facts {
        course.push_str(field);
        for line in lines {
            course.push(' ');
            match field.as_str() {
                "code" | "error" => course.push_str(line),
                "lines" => course.push_str(line.rsplit_once(": ").map_or("", |(label, _)| label)),
                "cost" | "overage" => course.push_str(if line == "0" { "0" } else { "+" }),
                _ => course.push_str(line.rsplit_once(" = ").map_or("", |(name, _)| name)),
            }
        }
        course.push('\n');
    }
}

fn facts(play: &mut Play<'_>, step: &format::Step) -> Result<Facts, String> {
    let played = play.step(step).map_err(|mistake| mistake.to_string())?;
    let probe = PROBE.as_ref().ok_or("a defect of proviso: the fields of expectations have changed")?;
    let seen = observe::compare(probe, &played).into_iter();
    Ok(seen.filter(|fact| fact.got != ["nothing"]).map(|fact| (fact.field, fact.got)).collect())
}

/// The case file: settings, steps up to the one that differs, and what the new policy says there.
pub fn case(
    base: &Base,
    scenario: &Scenario,
    difference: &Difference,
    new: &Subject,
) -> Result<String, String> {
    let mut steps = scenario.clone();
    steps.steps.truncate(difference.step + 1);
    let last = difference.new.len().saturating_sub(1);
    let none = Facts::new();
    let expectations: Vec<Vec<String>> = difference
        .new
        .iter()
        .enumerate()
        .map(|(nth, facts)| {
            let old = if nth == last { &difference.old } else { &none };
            facts
                .iter()
                .filter_map(|(field, got)| {
                    expectation(field, got, nth == last && old.get(field) != Some(got))
                })
                .collect()
        })
        .collect();
    let name = format!(
        "differs in {}",
        difference.fields().iter().map(|(field, ..)| *field).collect::<Vec<_>>().join(", ")
    );
    let mut text = String::from(
        "# Found by `proviso policy diff`: the smallest that was found which the version before decides otherwise.\n\n",
    );
    text.push_str(&base.head(&base.new_settings));
    text.push_str(&steps.case(&name, &expectations));
    let read = files::Read::alone(Path::new("difference.toml"), text)
        .map_err(|error| format!("a defect of proviso: the case can't be read: {error}"))?;
    let ran = read.file.cases.first().map(|case| test::run_case(new, &read, case, false));
    match ran.and_then(|ran| ran.failure) {
        None => Ok(read.text),
        Some(failure) => {
            Err(format!("a defect of proviso: the case does not hold for the new policy: {failure:?}"))
        }
    }
}

/// A field of an expectation; none where it need not or can't be named. A refusal, an error and a fault always are, since a step
/// that does not name them must not have them.
fn expectation(field: &str, got: &[String], differs: bool) -> Option<String> {
    let list = || got.iter().map(|line| quoted(line)).collect::<Vec<_>>().join(", ");
    match field {
        "degraded" => Some("degraded = true".to_owned()),
        "error" => Some(format!("error = {}", quoted(got.first()?))),
        "code" => {
            // "accepted", or the code and its detail.
            let code = got.first()?.split(':').next()?;
            (differs || code != "accepted").then(|| format!("code = {}", quoted(code)))
        }
        _ if !differs => None,
        "cost" | "overage" => Some(format!("{field} = {}", quoted(got.first()?))),
        "retry_at" => got.first().filter(|at| *at != "never").map(|at| format!("retry_at = {}", quoted(at))),
        "lines" | "offers" | "suggestions" | "entries" | "notes" => Some(format!("{field} = [{}]", list())),
        _ => {
            let pairs: Option<Vec<String>> = got
                .iter()
                .map(|line| {
                    line.rsplit_once(" = ").map(|(name, value)| format!("{} = {}", key(name), quoted(value)))
                })
                .collect();
            Some(format!("{field} = {{ {} }}", pairs?.join(", ")))
        }
    }
}
