//! What of a context a policy is shown when it rates: what it declares. A policy that reads what it has not declared is told.

use proviso_ledger::model::{
    answers::Needs,
    view::{Context, EntityView, UsageView},
};

/// A context as a server shows it for these needs.
pub fn shown(context: &Context, needs: Needs) -> Context {
    let mut shown = context.clone();
    if !needs.balances {
        shown.balances.clear();
    }
    if !needs.grants {
        shown.grants.clear();
    }
    if !needs.customer_attributes {
        shown.attributes.clear();
    }
    shown
}

/// A usage as a server shows it for these needs.
pub fn shown_usage<'a>(usage: &UsageView<'a>, needs: Needs) -> UsageView<'a> {
    let bare = |entity: &EntityView| EntityView { id: entity.id.clone(), attributes: Vec::new() };
    let entities = if needs.entity_attributes {
        usage.entities.clone()
    } else {
        usage.entities.iter().map(bare).collect()
    };
    UsageView { entities, ..usage.clone() }
}

/// The names of the needs that are not declared, and with which the policy would answer otherwise.
pub fn undeclared(declared: Needs, differs: impl Fn(Needs) -> bool) -> Vec<&'static str> {
    let more = [
        ("balances", declared.balances, Needs { balances: true, ..declared }),
        ("grants", declared.grants, Needs { grants: true, ..declared }),
        (
            "customer attributes",
            declared.customer_attributes,
            Needs { customer_attributes: true, ..declared },
        ),
        ("entity attributes", declared.entity_attributes, Needs { entity_attributes: true, ..declared }),
    ];
    let found = more.into_iter().filter(|(_, is_declared, needs)| !is_declared && differs(*needs));
    found.map(|(name, ..)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_the_answer_and_is_not_declared_is_named() {
        let declared = Needs { grants: true, ..Needs::default() };
        let named = undeclared(declared, |needs| needs.balances || needs.entity_attributes);
        assert_eq!(named, ["balances", "entity attributes"]);
        let all = Needs { balances: true, grants: true, customer_attributes: true, entity_attributes: true };
        assert!(undeclared(all, |_| true).is_empty());
    }
}
