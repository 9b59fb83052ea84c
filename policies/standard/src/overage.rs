//! What happens beyond the last credit. In: what is missing. Out: a refusal, a limit, offers, or credits to issue.

use crate::settings::{Ending, MoneySettings, OverageMode};
use alloc::{format, string::ToString};
use proviso_sdk::{
    Amount, Credits, OutOfRange, Rounding,
    calendar::DAY,
    types::{Context, Money, Offer, OverageOutcome, TopUp},
};

impl MoneySettings {
    pub(crate) fn times(&self, count: i64) -> Result<Money, OutOfRange> {
        Ok(Money::new(&self.amount.repeated(count)?.to_string(), &self.currency))
    }
}

impl Ending {
    pub(crate) fn overage(&self, shortfall: Credits, context: &Context) -> OverageOutcome {
        match self.overage.mode {
            OverageMode::Block => self.deny(shortfall, context),
            OverageMode::Allow => OverageOutcome::up_to(self.overage.limit.unwrap_or(Credits::MAX)),
            OverageMode::RequirePurchase => {
                let offers = self.overage.offers.iter().map(|offer| {
                    let price = offer.price.as_ref().and_then(|price| price.times(1).ok());
                    Offer::new(&offer.code, &offer.label, offer.credits, price)
                });
                OverageOutcome::RequirePurchase(offers.collect())
            }
            OverageMode::TopUp => match self.top_up(shortfall, context) {
                Ok(Some(top_up)) => OverageOutcome::TopUp(top_up),
                Ok(None) | Err(OutOfRange) => self.deny(shortfall, context),
            },
        }
    }

    /// As many packs as are missing; none when that is more than one charge may bring.
    fn top_up(&self, shortfall: Credits, context: &Context) -> Result<Option<TopUp>, OutOfRange> {
        let settings = &self.overage;
        let pack = settings.pack.ok_or(OutOfRange)?;
        let packs = Amount(shortfall.0).blocks(Amount(pack.0), Rounding::Up)?.0 / Amount::ONE.0;
        if packs > i64::from(settings.max_packs.unwrap_or(1)) {
            return Ok(None);
        }
        let expires_at =
            settings.expires_after_days.map(|days| context.now.at.saturating_add(i64::from(days) * DAY));
        let price = settings.price.as_ref().map(|price| price.times(packs)).transpose()?;
        Ok(Some(TopUp::new(pack.repeated(packs)?, expires_at, price)))
    }

    /// Refused until the next reset, when that brings credits.
    fn deny(&self, shortfall: Credits, context: &Context) -> OverageOutcome {
        let mut outcome = OverageOutcome::insufficient(shortfall, context);
        let brings = self.reset.as_ref().is_some_and(|reset| !reset.allowance.is_empty());
        if let (OverageOutcome::Deny(refusal), false) = (&mut outcome, brings) {
            refusal.retry_at = None;
            refusal.detail = format!("{shortfall} credits are missing, and no reset brings any");
        }
        outcome
    }
}
