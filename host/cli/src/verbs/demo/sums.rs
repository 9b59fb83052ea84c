//! Two sets of books: what the client added up from the answers, against what the host says when asked. To the last
//! millionth of a credit.

use super::{
    cast::CUSTOMERS,
    client::Client,
    load::{CustomerTally, Tally},
};
use crate::error::Error;
use proviso_ledger::model::amounts::Credits;
use serde_json::Value;

/// How the books compare.
#[derive(Debug, Default)]
pub struct Sums {
    /// What all charges cost, as the client added it up.
    pub client: Credits,
    /// As the host's usage reports say.
    pub host: Credits,
    /// What was issued because credits ran out: to whom, how often, how much.
    pub top_ups: Vec<(&'static str, u64, Credits)>,
    /// Where they differ.
    pub differences: Vec<String>,
}

/// Asks the host about every customer, and compares.
pub async fn compare(manager: &mut Client, tally: &Tally) -> Result<Sums, Error> {
    let mut sums = Sums::default();
    for (customer, tally) in CUSTOMERS.iter().zip(&tally.customers) {
        let usage =
            manager.get(&format!("/v1/customers/{}/usage?group_by=feature&limit=1000", customer.key)).await?;
        let balance = manager.get(&format!("/v1/customers/{}/balance", customer.key)).await?;
        sums.one(customer.key, tally, &usage, &balance)?;
        sums.count_top_ups(customer.key, &balance)?;
    }
    Ok(sums)
}

impl Sums {
    fn one(
        &mut self,
        customer: &str,
        tally: &CustomerTally,
        usage: &Value,
        balance: &Value,
    ) -> Result<(), Error> {
        let groups = usage.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (feature, sum) in &tally.features {
            let group = groups
                .iter()
                .find(|group| group.pointer("/group/feature").and_then(Value::as_str) == Some(feature));
            let cost = group.map_or(Ok(Credits::ZERO), |group| credits(group, "/cost/0/cost"))?;
            let charges = group.and_then(|group| group.get("charges")?.as_u64()).unwrap_or(0);
            if (cost, charges) != (sum.cost, sum.charges) {
                let (client, many) = (sum.cost, sum.charges);
                self.differences.push(format!(
                    "{customer}, {feature}: {many} charges of {client} were answered, the host reports {charges} of {cost}"
                ));
            }
            self.host = self.host.saturating_add(cost);
        }
        let total = tally.total().cost;
        self.client = self.client.saturating_add(total);
        let used = credits(balance, "/balances/0/used")?;
        let overage = credits(balance, "/balances/0/overage")?;
        if used.saturating_add(overage) != total || overage != tally.overage {
            self.differences.push(format!(
                "{customer}: {total} were charged, {} of it as overage; the balance says {used} used and {overage} overage",
                tally.overage
            ));
        }
        Ok(())
    }
}

impl Sums {
    fn count_top_ups(&mut self, customer: &'static str, balance: &Value) -> Result<(), Error> {
        let grants = balance
            .pointer("/balances/0/grants")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let (mut number, mut amount) = (0, Credits::ZERO);
        for grant in
            grants.iter().filter(|grant| grant.get("category").and_then(Value::as_str) == Some("top_up"))
        {
            number += 1;
            amount = amount.saturating_add(credits(grant, "/amount")?);
        }
        if number > 0 {
            self.top_ups.push((customer, number, amount));
        }
        Ok(())
    }
}

fn credits(value: &Value, pointer: &str) -> Result<Credits, Error> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    let found = text.and_then(|text| text.parse().ok());
    found.ok_or_else(|| Error::Demo(format!("the host's answer has no credits at {pointer}: {value}")))
}
