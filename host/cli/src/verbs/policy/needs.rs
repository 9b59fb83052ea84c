//! A policy that reads what it has not declared is shown nothing of it on a server. Here that is found out.

use proviso_decide::policy::Policy;
use proviso_ledger::model::answers::Needs;
use std::sync::Arc;

/// What a policy does not declare and what changes something when it is shown it all the same, by the names of the sdk.
pub fn undeclared(policy: &dyn Policy, changes: impl Fn(Arc<dyn Policy>) -> bool) -> Vec<&'static str> {
    let declared = policy.manifest().needs;
    let more = [
        ("Balances", declared.balances, Needs { balances: true, ..declared }),
        ("Grants", declared.grants, Needs { grants: true, ..declared }),
        ("CustomerAttributes", declared.customer_attributes, Needs { customer_attributes: true, ..declared }),
        ("EntityAttributes", declared.entity_attributes, Needs { entity_attributes: true, ..declared }),
    ];
    let missing = more.into_iter().filter(|(_, is_declared, _)| !is_declared);
    let found = missing.filter(|(_, _, needs)| policy.showing(*needs).is_some_and(&changes));
    found.map(|(name, ..)| name).collect()
}
