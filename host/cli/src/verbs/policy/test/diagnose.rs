//! Why a case failed, beyond what differs: the text of a panic, and a policy that reads what it has not declared.

use super::{Job, Modules, Subject, observe::Mismatch, play::Loaded, report::Ran, run_case};
use crate::verbs::policy::{needs, source};
use proviso_decide::policy::Policy;
use std::{path::Path, sync::Arc};

/// How many failed cases are played again.
const MOST: usize = 20;

/// Plays failed cases again to say more about them.
pub fn explain<'s, 'j>(
    policy: &Path,
    modules: &Modules,
    jobs: &[Job<'j>],
    subject_of: &dyn Fn(&Job<'j>) -> &'s Subject,
    ran: &mut [Ran],
) {
    let mut talkative = None;
    let failed = jobs.iter().zip(ran).filter(|(_, ran)| ran.failure.is_some());
    for (job, ran) in failed.take(MOST) {
        let subject = subject_of(job);
        if trapped(ran) {
            // Built once, and only where a panic is to be told.
            let built = talkative.get_or_insert_with(|| logging_panics(policy, modules));
            tell_panic(built.as_ref(), subject, job, ran);
        }
        tell_needs(subject, job, ran);
    }
}

fn trapped(ran: &Ran) -> bool {
    let failure = ran.failure.as_ref();
    let mismatches = failure.into_iter().flat_map(|failure| &failure.mismatches);
    let mistake = failure.and_then(|failure| failure.mistake.as_deref());
    mismatches.flat_map(|mismatch| &mismatch.got).any(|line| line.starts_with("trap:"))
        || mistake.is_some_and(|mistake| mistake.contains("trap:"))
}

fn logging_panics(policy: &Path, modules: &Modules) -> Option<Loaded> {
    // A module alone can't be built again.
    let component = policy.is_dir().then(|| source::build_logging_panics(policy).ok()).flatten()?;
    modules.take(&component).ok()
}

/// Shows the case as it fails with the policy that logs its panics.
fn tell_panic(built: Option<&Loaded>, subject: &Subject, job: &Job<'_>, ran: &mut Ran) {
    let again = built.map(|main| {
        let subject = Subject { main: main.clone(), ..subject.clone() };
        run_case(&subject, job.file, job.case, false)
    });
    let (Some(failure), again) = (&mut ran.failure, again.and_then(|again| again.failure)) else { return };
    let logs = |mismatches: &[Mismatch]| {
        mismatches.iter().flat_map(|mismatch| &mismatch.got).any(|line| line.contains("panicked at"))
    };
    match again {
        Some(told) if told.line == failure.line && (logs(&told.mismatches) || told.mistake.is_some()) => {
            failure.mismatches = told.mismatches;
            failure.mistake = told.mistake;
        }
        _ => failure.hints.push(
            "the text of a panic is shown for a crate's folder that exports with `export!(…, no_std)`"
                .to_owned(),
        ),
    }
}

/// Says what the policy reads without having declared it, where that is why the case fails.
fn tell_needs(subject: &Subject, job: &Job<'_>, ran: &mut Ran) {
    let Loaded { digest, policy } = &subject.main;
    let passes = |shown: Arc<dyn Policy>| {
        let subject = Subject { main: Loaded { digest: *digest, policy: shown }, ..subject.clone() };
        let again = run_case(&subject, job.file, job.case, false);
        again.failure.is_none() || again.steps > ran.steps
    };
    let named = needs::undeclared(&**policy, passes);
    if let (Some(failure), false) = (&mut ran.failure, named.is_empty()) {
        let named: Vec<String> = named.into_iter().map(|need| format!("Need::{need}")).collect();
        failure.hints.push(format!(
            "the step is as expected when the policy is shown what it does not declare: About::new(…).needs(&[{}])",
            named.join(", ")
        ));
    }
}
