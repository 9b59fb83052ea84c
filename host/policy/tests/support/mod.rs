//! Policies made by hand, so that tests need no other compiler: WebAssembly text and a memory image become a component of the
//! world. The image holds results as the canonical ABI lays them out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

#[allow(unused_imports, reason = "each test binary uses a part")]
pub use proviso_decide::policy::{Failure, Policy};
use proviso_ledger::model::{
    amounts::{Credits, Decimal, Money, Quantity},
    answers::Rating,
    counter::Counted,
    grant::Category,
    ids::GrantId,
    time::{Moment, Timestamp, Zone},
    usage::{Purpose, Usage},
    view::{
        BalanceView, Closing, Context, ContractView, CycleView, EntityView, Expiry, GrantView, Opening,
        PeriodView, UsageView,
    },
};
use proviso_policy::{Compiler, Limits, Runtime};
use std::{collections::BTreeMap, fmt::Write};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

pub const WIT: &str = include_str!("../../../../wit/v1/policy.wit");
const IMAGE_AT: u32 = 1024;

pub fn runtime() -> Runtime {
    Runtime::new(Limits::default(), None, Compiler::InProcess).unwrap()
}

/// Bytes at a fixed place of a policy's memory.
pub struct Image(Vec<u8>);

/// A pointer and a length.
pub type Slice = [u8; 8];

impl Image {
    pub fn put(&mut self, bytes: &[u8]) -> u32 {
        while !self.0.len().is_multiple_of(8) {
            self.0.push(0);
        }
        let at = IMAGE_AT + u32::try_from(self.0.len()).unwrap();
        self.0.extend_from_slice(bytes);
        at
    }

    pub fn slice(&mut self, bytes: &[u8], count: usize) -> Slice {
        let at = self.put(bytes);
        slice(at, u32::try_from(count).unwrap())
    }

    pub fn text(&mut self, text: &str) -> Slice {
        self.slice(text.as_bytes(), text.len())
    }

    pub fn texts(&mut self, texts: &[&str]) -> Slice {
        let items: Vec<u8> = texts.iter().flat_map(|text| self.text(text)).collect();
        self.slice(&items, texts.len())
    }
}

pub fn slice(at: u32, count: u32) -> Slice {
    let mut slice = [0; 8];
    slice[..4].copy_from_slice(&at.to_le_bytes());
    slice[4..].copy_from_slice(&count.to_le_bytes());
    slice
}

pub fn none() -> Slice {
    slice(IMAGE_AT, 0)
}

/// The record of a decimal in units of 10^-12.
pub fn units(units: i64) -> [u8; 16] {
    parts(units / 1_000_000_000_000, units % 1_000_000_000_000)
}

/// The record of a decimal.
pub fn parts(whole: i64, part: i64) -> [u8; 16] {
    let mut record = [0; 16];
    record[..8].copy_from_slice(&whole.to_le_bytes());
    record[8..].copy_from_slice(&part.to_le_bytes());
    record
}

/// The record of an expiry that never comes.
pub const NEVER: [u8; 24] = [0; 24];
/// An option without a value.
pub const NO_MONEY: [u8; 32] = [0; 32];

/// A policy as it is being written.
pub struct Draft {
    pub image: Image,
    /// The body of each export, after its parameters.
    pub bodies: BTreeMap<&'static str, String>,
    /// More fields of the core module.
    pub more: String,
    pub memory: String,
    /// Where arguments are put.
    pub start: u32,
    pub realloc: String,
    /// Whether it imports `log`.
    pub logs: bool,
    pub wit: String,
}

impl Draft {
    /// A policy that does everything right: `rate` derives its cost from all of its arguments.
    pub fn good() -> Self {
        let mut draft = Self {
            image: Image(Vec::new()),
            bodies: BTreeMap::new(),
            more: String::new(),
            memory: "(memory (export \"memory\") 2)".to_owned(),
            start: 65536,
            realloc: "(global.set $free (i32.and (i32.add (global.get $free) (i32.add (local.get 2) (i32.const -1)))
                    (i32.sub (i32.const 0) (local.get 2))))
                (local.tee 4 (global.get $free))
                (global.set $free (i32.add (global.get $free) (local.get 3)))"
                .to_owned(),
            logs: true,
            wit: WIT.to_owned(),
        };
        draft.manifest(
            "good",
            "1.0.0",
            "{}",
            &["balances", "grants", "customer-attributes", "entity-attributes"],
        );
        draft.prepared(b"form", &[]);
        let rating = draft.rating("credits", 7, &[("usage", 7)], &[]);
        // Mixes every byte of the arguments into the cost: they lie one after another from 64 KiB on.
        draft.bodies.insert(
            "rate",
            format!(
                "(local $at i32) (local $sum i64)
                (local.set $at (global.get $start))
                (loop $next
                  (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load8_u (local.get $at))))
                  (local.set $at (i32.add (local.get $at) (i32.const 1)))
                  (br_if $next (i32.lt_u (local.get $at) (global.get $free))))
                (local.set $sum (i64.and (local.get $sum) (i64.const 0xffffff)))
                {cost}
                (call $log (i32.const {IMAGE_AT}) (i32.const 4))
                (i32.const {rating})",
                cost = costs(rating, "(local.get $sum)"),
            ),
        );
        draft.overage_allow(0);
        draft.close(&[none(); 5]);
        draft.open(&[none(); 3]);
        draft
    }

    fn returns(&mut self, export: &'static str, at: u32) -> u32 {
        self.bodies.insert(export, format!("(i32.const {at})"));
        at
    }

    pub fn manifest(&mut self, name: &str, version: &str, schema: &str, needs: &[&str]) {
        let fields = [
            self.image.text(name),
            self.image.text(version),
            self.image.text("A test."),
            self.image.text(schema),
        ];
        let mut record = fields.concat();
        record.extend(self.image.texts(needs));
        let at = self.image.put(&record);
        self.returns("describe", at);
    }

    /// Each counter is name, measure, scope and window.
    pub fn prepared(&mut self, form: &[u8], counters: &[[&str; 4]]) {
        self.prepared_with(form, counters, &[], "purchases", &[]);
    }

    /// Each priced feature is a feature (none when empty) and a credit type.
    pub fn prepared_with(
        &mut self,
        form: &[u8],
        counters: &[[&str; 4]],
        features: &[[&str; 2]],
        settle_from: &str,
        categories: &[&str],
    ) {
        let mut items = Vec::new();
        for [name, measure, scope, window] in counters {
            items.extend(self.image.text(name));
            items.extend(self.image.text(measure));
            items.extend(none());
            items.extend(self.image.text(scope));
            items.extend(self.image.text(window));
        }
        let mut priced = Vec::new();
        for [feature, credit] in features {
            priced.extend([u8::from(!feature.is_empty()), 0, 0, 0]);
            priced.extend(self.image.text(feature));
            priced.extend(self.image.text(credit));
        }
        let mut record = vec![0; 4];
        record.extend(self.image.slice(form, form.len()));
        record.extend(self.image.slice(&items, counters.len()));
        record.extend(self.image.slice(&priced, features.len()));
        record.extend(self.image.text(settle_from));
        record.extend(self.image.texts(categories));
        let at = self.image.put(&record);
        self.returns("prepare", at);
    }

    /// The result's address; [`costs`] writes the cost of it and of its last line. Amounts are units of 10^-12.
    pub fn rating(&mut self, credit: &str, cost: i64, lines: &[(&str, i64)], draw_order: &[&str]) -> u32 {
        let credit = self.image.text(credit);
        let draw_order = self.image.texts(draw_order);
        let mut items = Vec::new();
        for (label, cost) in lines {
            items.extend(self.image.text(label));
            items.extend(parts(1, 0));
            items.extend(units(5));
            items.extend(units(*cost));
        }
        let lines = self.image.slice(&items, lines.len());
        self.raw_rating(credit, units(cost), lines, draw_order)
    }

    pub fn raw_rating(&mut self, credit: Slice, cost: [u8; 16], lines: Slice, draw_order: Slice) -> u32 {
        let mut record = vec![0; 8];
        record.extend(credit);
        record.extend(cost);
        record.extend(lines);
        record.extend(draw_order);
        let at = self.image.put(&record);
        self.returns("rate", at)
    }

    pub fn refusal(&mut self, kind: &str, code: &str) {
        let mut record = vec![1, 0, 0, 0, 0, 0, 0, 0];
        record.extend(self.raw_refusal(kind, code, None, none()));
        let at = self.image.put(&record);
        self.returns("rate", at);
    }

    pub fn raw_refusal(
        &mut self,
        kind: &str,
        code: &str,
        retry_at: Option<i64>,
        suggestions: Slice,
    ) -> Vec<u8> {
        let mut record = self.image.text(kind).to_vec();
        record.extend(self.image.text(code));
        record.extend(self.image.text("Because."));
        record.extend(u64::from(retry_at.is_some()).to_le_bytes());
        record.extend(retry_at.unwrap_or(0).to_le_bytes());
        record.extend(suggestions);
        record
    }

    /// A limit in units of 10^-12.
    pub fn overage_allow(&mut self, limit: i64) {
        self.overage(1, &units(limit));
    }

    /// A case of the outcome and its payload.
    pub fn overage(&mut self, case: u8, payload: &[u8]) {
        let mut record = vec![case, 0, 0, 0, 0, 0, 0, 0];
        record.extend(payload);
        record.resize(8 + 80, 0);
        let at = self.image.put(&record);
        self.returns("overage", at);
    }

    /// Rollovers, expiring grants, fees, settlements and notes.
    pub fn close(&mut self, lists: &[Slice; 5]) {
        let at = self.image.put(&lists.concat());
        self.returns("close", at);
    }

    /// Grants, settlements and notes.
    pub fn open(&mut self, lists: &[Slice; 3]) {
        let at = self.image.put(&lists.concat());
        self.returns("open", at);
    }

    /// Puts arguments behind an image that is larger than a page, with memory for them that grows as it is needed.
    pub fn make_space(&mut self) {
        self.start = IMAGE_AT + u32::try_from(self.image.0.len()).unwrap().next_multiple_of(65536);
        self.memory = format!("(memory (export \"memory\") {})", self.start / 65536 + 2);
        self.realloc.push_str(
            "(local.set 5 (i32.shr_u (i32.add (global.get $free) (i32.const 65535)) (i32.const 16)))
            (if (i32.gt_u (local.get 5) (memory.size))
              (then (drop (memory.grow (i32.add (i32.sub (local.get 5) (memory.size)) (i32.const 8))))))",
        );
    }

    pub fn body(mut self, export: &'static str, body: &str) -> Self {
        self.bodies.insert(export, body.to_owned());
        self
    }

    pub fn more(mut self, fields: &str) -> Self {
        self.more.push_str(fields);
        self
    }

    pub fn core(&self) -> Vec<u8> {
        let mut data = String::new();
        for byte in &self.image.0 {
            write!(data, "\\{byte:02x}").unwrap();
        }
        let mut text = format!(
            "(module
              {import}
              {memory} {more}
              (global $start i32 (i32.const {start}))
              (global $free (mut i32) (i32.const {start}))
              (func $realloc (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (local i32 i32) {realloc})
              (data (i32.const {IMAGE_AT}) \"{data}\")",
            import = if self.logs { IMPORT_LOG } else { "" },
            memory = self.memory,
            start = self.start,
            more = self.more,
            realloc = self.realloc,
        );
        for (export, params) in EXPORTS {
            if let Some(body) = self.bodies.get(export) {
                write!(text, "(func ${export} (export \"{export}\") (param {params}) (result i32) {body})")
                    .unwrap();
            }
        }
        text.push(')');
        wat::parse_str(&text).unwrap()
    }

    pub fn build(&self) -> Vec<u8> {
        component(&self.core(), &self.wit)
    }
}

const IMPORT_LOG: &str = "(import \"$root\" \"log\" (func $log (param i32 i32)))";

/// The exports with the parameters of their core functions.
const EXPORTS: [(&str, &str); 6] = [
    ("describe", ""),
    ("prepare", "i32 i32"),
    ("rate", "i32"),
    ("overage", "i32"),
    ("close", "i32"),
    ("open", "i32"),
];

/// Writes a cost in units of 10^-12, below one credit, to a rating with one line or more.
pub fn costs(rating: u32, units: &str) -> String {
    format!("(i64.store (i32.const {}) {units}) (i64.store (i32.const {}) {units})", rating + 24, rating - 8)
}

/// A core module as a component of the world in `wit`.
pub fn component(core: &[u8], wit: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("policy.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("policy")).unwrap();
    let mut core = core.to_vec();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(false).module(&core).unwrap().encode().unwrap()
}

pub fn moment() -> Moment {
    Zone::utc().moment(Timestamp(1_795_000_000_000_000))
}

/// Five attributes and two quantities.
pub fn usage() -> Usage {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Usage {
        feature: "chat".parse().unwrap(),
        quantities: vec![
            ("input_tokens".to_owned(), Quantity::from_whole(1_200)),
            ("output_tokens".to_owned(), Quantity::from_whole(300)),
        ],
        attributes: vec![
            pair("channel", "api"),
            pair("environment", "production"),
            pair("model", "large"),
            pair("region", "eu-central"),
            pair("tier", "standard"),
        ],
        entity: Some("user-7".parse().unwrap()),
        ancestors: Vec::new(),
        occurred_at: moment().at,
    }
}

/// The usage by a user of a team.
pub fn view(usage: &Usage) -> UsageView<'_> {
    let entity = |id: &str, role: &str| EntityView {
        id: id.parse().unwrap(),
        attributes: vec![("role".to_owned(), role.to_owned())],
    };
    UsageView {
        usage,
        entities: vec![entity("user-7", "developer"), entity("team-1", "research")],
        occurred_at: moment(),
        purpose: Purpose::Charge,
        period: period(),
        late: false,
    }
}

/// Four grants.
pub fn context() -> Context {
    let grant = |entry: u64, category, priority| GrantView {
        id: GrantId { entry, index: 0 },
        credit: "credits".parse().unwrap(),
        category,
        priority,
        amount: Credits::from_whole(1_000),
        remaining: Credits::from_whole(400),
        held: Credits::from_whole(1),
        effective_at: Timestamp(1_790_000_000_000_000),
        expires: Expiry { at: Some(Timestamp(1_800_000_000_000_000)), with_period: Some(2) },
        features: Vec::new(),
        cost_basis: (category == Category::Prepaid).then(|| money("99.90 EUR")),
    };
    let total = |used: &str| Counted { used: used.parse().unwrap(), held: Decimal::ZERO };
    Context {
        customer: "acme".parse().unwrap(),
        plan: Some("pro".parse().unwrap()),
        attributes: vec![("segment".to_owned(), "enterprise".to_owned())],
        now: moment(),
        period: period(),
        terms_effective_at: moment(),
        contract: Some(ContractView { id: "frame-1".to_owned(), start: moment(), end: None }),
        time_zone: "Europe/Berlin".to_owned(),
        balances: vec![BalanceView {
            credit: "credits".parse().unwrap(),
            granted: Credits::from_whole(4_000),
            used: Credits::from_whole(2_396),
            reserved: Credits::from_whole(4),
            available: Credits::from_whole(1_600),
            restricted: Credits::ZERO,
            overage: Credits::ZERO,
            held_overage: Credits::ZERO,
        }],
        grants: vec![
            grant(1, Category::Promotional, 0),
            grant(2, Category::Plan, 10),
            grant(3, Category::Rollover, 20),
            grant(12, Category::Prepaid, 30),
        ],
        counters: vec![total("0"), total("1"), total("123.456789")],
    }
}

/// An amount and a currency.
pub fn money(text: &str) -> Money {
    let (amount, currency) = text.split_once(' ').unwrap();
    Money::new(amount.parse().unwrap(), currency.parse().unwrap()).unwrap()
}

pub fn period() -> PeriodView {
    PeriodView { number: 3, start: moment(), end: Some(moment()) }
}

fn cycle() -> CycleView {
    CycleView { start: moment(), end: Some(moment()) }
}

pub fn closing() -> Closing {
    Closing { period: period(), cycle: cycle(), reason: "scheduled" }
}

pub fn opening() -> Opening {
    Opening {
        period: period(),
        reason: "scheduled",
        cycle: cycle(),
        allowance: "carry",
        given: vec![("credits".parse().unwrap(), Credits::from_whole(12))],
    }
}

/// A rating of one unit of 10^-12.
pub fn rating() -> Rating {
    Rating {
        credit: "credits".parse().unwrap(),
        cost: Credits::from_units(1),
        lines: vec![],
        draw_order: vec![],
    }
}
