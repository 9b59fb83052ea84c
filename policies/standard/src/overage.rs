//! What happens when a cost exceeds what is available.

use crate::settings::{AllowanceSettings, OverageMode, WithoutRates};
use alloc::format;
use proviso_sdk::{
    Context, Credits, Expiry, Offer, OutOfRange, OverageOutcome, Rounding, TopUp, Usage, calendar::DAY,
};

impl WithoutRates {
    pub(crate) fn overage(&self, usage: &Usage, shortfall: Credits, context: &Context) -> OverageOutcome {
        match self.overage.mode {
            OverageMode::Block => self.deny(usage, shortfall, context),
            OverageMode::Allow => OverageOutcome::Allow(self.overage.limit.unwrap_or(Credits::LARGEST)),
            OverageMode::RequirePurchase => {
                let offers = self.overage.offers.iter();
                let offers =
                    offers.map(|offer| Offer::new(&offer.code, &offer.label, offer.credits, offer.price));
                OverageOutcome::RequirePurchase(offers.collect())
            }
            OverageMode::TopUp => match self.top_up(shortfall, context) {
                Ok(Some(top_up)) => OverageOutcome::TopUp(top_up),
                Ok(None) | Err(OutOfRange) => self.deny(usage, shortfall, context),
            },
        }
    }

    /// As many packs as are missing; none when that is more than one charge may bring.
    fn top_up(&self, shortfall: Credits, context: &Context) -> Result<Option<TopUp>, OutOfRange> {
        let settings = &self.overage;
        let pack = settings.pack.ok_or(OutOfRange)?;
        let packs = shortfall.blocks(pack, Rounding::Up)?.to_parts().0;
        if packs > i64::from(settings.max_packs.unwrap_or(1)) {
            return Ok(None);
        }
        let end = |days: u32| context.now.at.saturating_add(i64::from(days) * DAY);
        let expires = settings.expires_after_days.map_or(Expiry::NEVER, |days| Expiry::at(end(days)));
        let price = settings.price.map(|price| price.repeated(packs)).transpose()?;
        Ok(Some(TopUp::new(pack.repeated(packs)?.accepted()?).expires(expires).paid(price)))
    }

    /// Refused until the next period, when that brings credits for this usage.
    fn deny(&self, usage: &Usage, shortfall: Credits, context: &Context) -> OverageOutcome {
        let mut outcome = OverageOutcome::insufficient(shortfall, usage, context);
        let helps = |allowance: &AllowanceSettings| {
            allowance.credit == self.credit
                && (allowance.features.is_empty() || allowance.features.contains(&usage.feature))
        };
        let brings = self.reset.as_ref().is_some_and(|reset| reset.allowance.iter().any(helps));
        if let (OverageOutcome::Deny(refusal), false) = (&mut outcome, brings) {
            refusal.retry_at = None;
            refusal.detail = format!("{shortfall} credits are missing, and no period brings any");
        }
        outcome
    }
}
