//! What usages cost the provider, exactly: of each quantity, the first entry of the table that fits.

use super::workload::Cost;
use proviso_ledger::model::amounts::{Decimal, Quantity, Rounding};

/// Units that `per_million` is for.
const MILLION: Decimal = Decimal::from_whole(1_000_000);

/// The table.
#[derive(Debug, Default)]
pub struct Costs(Vec<Cost>);

impl Costs {
    /// In the order of the file.
    pub fn new(costs: impl IntoIterator<Item = Cost>) -> Self {
        Self(costs.into_iter().collect())
    }

    /// Whether nothing has a cost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of attributes on which costs depend.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|cost| cost.when.keys()).map(String::as_str)
    }

    /// What a usage costs.
    pub fn of(
        &self,
        feature: &str,
        quantities: &[(String, Quantity)],
        attributes: &[(String, String)],
    ) -> Decimal {
        let of_quantities = quantities.iter().map(|(name, amount)| {
            self.find(feature, Some(name), attributes)
                .map_or(Decimal::ZERO, |cost| cost.times(amount.decimal()))
        });
        let once = self.find(feature, None, attributes).map(|cost| cost.times(Decimal::ONE));
        of_quantities.chain(once).fold(Decimal::ZERO, Decimal::saturating_add)
    }

    /// The entry for a quantity, or for the usage itself.
    pub fn find(
        &self,
        feature: &str,
        quantity: Option<&str>,
        attributes: &[(String, String)],
    ) -> Option<&Cost> {
        self.0.iter().find(|cost| {
            cost.quantity.as_deref() == quantity
                && cost.feature.as_deref().is_none_or(|of| of == feature)
                && cost.when.iter().all(|(name, wanted)| {
                    let value = attributes.iter().find(|(known, _)| known == name);
                    value.is_some_and(|(_, value)| fits(wanted, value))
                })
        })
    }
}

impl Cost {
    /// For so many units; what is below 10^-12 rounds half to even.
    fn times(&self, units: Decimal) -> Decimal {
        let exact = match (self.per_unit, self.per_million) {
            (Some(price), _) => price.mul(units, Rounding::HalfEven),
            (None, Some(price)) => price.mul_div(units, MILLION, Rounding::HalfEven),
            (None, None) => Ok(Decimal::ZERO),
        };
        // A product of two accepted amounts may be too large for an amount; it is the largest then.
        exact.unwrap_or(Decimal::LARGEST)
    }
}

/// Whether a value is as a pattern says, in which `*` stands for any text.
fn fits(pattern: &str, value: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| value.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            let Some((_, behind)) = rest.split_once(middle) else { return false };
            rest = behind;
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_whole_values() {
        for (pattern, value, fine) in [
            ("large", "large", true),
            ("large", "larger", false),
            ("gpt-4o*", "gpt-4o-mini", true),
            ("*-mini", "gpt-4o-mini", true),
            ("*mini", "mini-x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b", "ab", true),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, value), fine, "{pattern} {value}");
        }
    }

    #[test]
    fn each_quantity_pays_its_first_entry() {
        let text = r#"
            [[cost]]
            quantity = "in"
            when = { model = "large*" }
            per_million = "3"
            [[cost]]
            quantity = "in"
            per_unit = "0.000001"
            [[cost]]
            feature = "search"
            per_unit = "0.01"
            [[segment]]
            name = "x"
            customers = 1
            usages_per_day = 1
            usage = [{ feature = "chat" }]
        "#;
        let workload = super::super::workload::parse(text, true).unwrap();
        let costs = Costs::new(workload.costs.into_iter().map(toml::Spanned::into_inner));
        let quantities =
            [("in".to_owned(), Quantity::from_whole(1_000)), ("out".to_owned(), Quantity::from_whole(9))];
        let model = |name: &str| vec![("model".to_owned(), name.to_owned())];
        for (feature, attributes, cost) in [
            ("chat", model("large-2"), "0.003"),
            ("chat", model("small"), "0.001"),
            ("chat", Vec::new(), "0.001"),
            ("search", model("large"), "0.013"),
        ] {
            assert_eq!(
                costs.of(feature, &quantities, &attributes).to_string(),
                cost,
                "{feature} {attributes:?}"
            );
        }
    }
}
