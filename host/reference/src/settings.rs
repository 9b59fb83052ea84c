//! What a history's policies are told to do, in plain numbers that the policy, the model and the generator share.

/// An amount: 10^-12 of a credit, a unit of usage or a currency's unit.
pub type Amount = i128;

pub const ONE: Amount = 1_000_000_000_000;
pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

pub const CREDITS: [&str; 2] = ["credits", "tokens"];
pub const FEATURES: [&str; 4] = ["chat", "image", "search", "free_text"];
pub const PLANS: [&str; 4] = ["basic", "pro", "team", "open"];
pub const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago"];
pub const ENTITIES: [&str; 7] = ["ann", "bob", "red", "blue", "org", "top", "low"];
pub const BUDGETS: [&str; 5] = ["b1", "b2", "b3", "b4", "b5"];
pub const CATEGORIES: [&str; 7] =
    ["plan", "trial", "prepaid", "promotional", "top_up", "contract", "adjustment"];

/// How long a plan's periods are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// A plan as a history begins with it.
#[derive(Debug, Clone)]
pub struct PlanSpec {
    pub key: &'static str,
    pub interval: Option<(Unit, i64)>,
    pub settings: Settings,
    pub own: OwnGrants,
}

/// What a plan gives whatever its policy does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OwnGrants {
    pub grants: Vec<OwnGrant>,
    pub trial: Option<TrialRule>,
}

/// A grant of the plan itself, with each period or once for each key.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnGrant {
    pub key: &'static str,
    pub once: bool,
    /// Lasts whole hours, or ends with a period, or never.
    pub rule: AllowanceRule,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TrialRule {
    pub hours: i64,
    pub grants: Vec<AllowanceRule>,
    pub then: AfterTrial,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AfterTrial {
    Stay,
    End,
    Plan(&'static str),
}

/// One set of settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    pub prices: Vec<Price>,
    pub tier: Option<Tier>,
    pub cap: Option<Cap>,
    pub newest_first: bool,
    pub overage: OverageRule,
    pub allowances: Vec<AllowanceRule>,
    pub mode: Mode,
    pub rollover: Option<RolloverRule>,
    pub fee: Option<FeeRule>,
    pub settle_close: Settling,
    pub settle_open: Settling,
    pub settle_from: SettleFrom,
    pub period_categories: Vec<&'static str>,
    pub counters: Vec<CounterSpec>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    pub feature: &'static str,
    pub credit: &'static str,
    pub price: Amount,
}

/// Another price for what a feature's usage exceeds in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    pub feature: &'static str,
    pub window: Window,
    pub above: Amount,
    pub price: Amount,
}

/// The most units in a window, used and held.
#[derive(Debug, Clone, PartialEq)]
pub struct Cap {
    pub whose: Whose,
    pub window: Window,
    pub features: Vec<&'static str>,
    pub limit: Amount,
    /// Whether it is asked of commits as well.
    pub commits: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum OverageRule {
    #[default]
    Block,
    Allow(Amount),
    TopUp {
        block: Amount,
        priority: i32,
        lasts: Option<i64>,
        with_period: Option<u32>,
        paid: bool,
    },
    Purchase,
    Reduce,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AllowanceRule {
    pub credit: &'static str,
    pub amount: Amount,
    pub category: &'static str,
    pub priority: i32,
    pub features: Vec<&'static str>,
    pub starts_in: Option<i64>,
    pub lasts: Option<i64>,
    pub with_period: Option<u32>,
    pub paid: Option<Amount>,
}

/// How a new allowance is reduced by what the cycle's allowances gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As the change of plan asks.
    #[default]
    Asked,
    Carry,
    Prorate,
    Full,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RolloverRule {
    pub percent: i128,
    pub most: Option<Amount>,
    pub periods: u32,
    pub categories: Vec<&'static str>,
    pub priority: i32,
    pub only_scheduled: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FeeRule {
    pub credit: &'static str,
    pub least: Amount,
    pub drawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Settling {
    #[default]
    Keep,
    Invoice,
    Waive,
    Deduct,
    /// Half of what is outstanding.
    InvoiceHalf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SettleFrom {
    #[default]
    Purchases,
    Reset,
    Never,
}

/// What a counter adds up, for whom and over which windows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterSpec {
    pub cost: bool,
    /// Sorted; empty means all.
    pub features: Vec<&'static str>,
    pub whose: Whose,
    pub window: Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    Customer,
    Entity,
    /// Each value of the attribute `model`.
    Model,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    Period,
    Cycle,
    Day,
    /// Of budgets only.
    Week,
    Month,
    Hours(u16),
    Lifetime,
}

impl Settings {
    /// The counters that the settings need: the tier's, the cap's, the fee's, then the rest.
    pub fn all_counters(&self) -> Vec<CounterSpec> {
        let mut all = Vec::new();
        if let Some(tier) = &self.tier {
            all.push(CounterSpec {
                cost: false,
                features: vec![tier.feature],
                whose: Whose::Customer,
                window: tier.window,
            });
        }
        if let Some(cap) = &self.cap {
            all.push(CounterSpec {
                cost: false,
                features: cap.features.clone(),
                whose: cap.whose,
                window: cap.window,
            });
        }
        if self.fee.is_some() {
            all.push(CounterSpec {
                cost: true,
                features: Vec::new(),
                whose: Whose::Customer,
                window: Window::Period,
            });
        }
        all.extend(self.counters.iter().cloned());
        all
    }

    pub fn price_of(&self, feature: &str) -> Option<&Price> {
        self.prices.iter().find(|price| price.feature == feature)
    }
}
