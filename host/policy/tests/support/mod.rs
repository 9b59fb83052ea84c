//! Policies made by hand, so that tests need no other compiler: WebAssembly text and a memory image in, a component of
//! the world out. The image holds results as the canonical ABI lays them out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]
#![allow(dead_code, reason = "each test binary uses a part")]

use proviso_ledger::{
    credits::{Credits, Quantity},
    decision::{Balance, Context, GrantView, PeriodView, Usage},
    grant::Category,
    ids::GrantId,
    time::{Moment, Timestamp, Zone},
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

/// A policy as it is being written.
pub struct Draft {
    pub image: Image,
    /// The body of each export, after its parameters.
    pub bodies: BTreeMap<&'static str, String>,
    /// More fields of the core module.
    pub more: String,
    pub memory: String,
    pub realloc: String,
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
            realloc: "(global.set $free (i32.and (i32.add (global.get $free) (i32.add (local.get 2) (i32.const -1)))
                    (i32.sub (i32.const 0) (local.get 2))))
                (local.tee 4 (global.get $free))
                (global.set $free (i32.add (global.get $free) (local.get 3)))"
                .to_owned(),
            wit: WIT.to_owned(),
        };
        draft.manifest("good", "1.0.0", "{}", &["balances", "grants", "customer-attributes"]);
        draft.prepared(b"form", &[]);
        let rating = draft.rating("credits", 7, &[("usage", 7)], &[]);
        // Mixes every byte of the arguments into the cost: they lie one after another from 64 KiB on.
        draft.bodies.insert(
            "rate",
            format!(
                "(local $at i32) (local $sum i64)
                (local.set $at (i32.const 65536))
                (loop $next
                  (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load8_u (local.get $at))))
                  (local.set $at (i32.add (local.get $at) (i32.const 1)))
                  (br_if $next (i32.lt_u (local.get $at) (global.get $free))))
                (local.set $sum (i64.and (local.get $sum) (i64.const 0xffffff)))
                (i64.store (i32.const {cost}) (local.get $sum))
                (i64.store (i32.const {line}) (local.get $sum))
                (call $log (i32.const {IMAGE_AT}) (i32.const 4))
                (i32.const {rating})",
                cost = rating + 16,
                line = rating - 8,
            ),
        );
        draft.overage_allow(0);
        draft.reset(&[none(); 6]);
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
        let mut items = Vec::new();
        for [name, measure, scope, window] in counters {
            items.extend(self.image.text(name));
            items.extend(self.image.text(measure));
            items.extend(none());
            items.extend(self.image.text(scope));
            items.extend(self.image.text(window));
        }
        let mut record = vec![0; 4];
        record.extend(self.image.slice(form, form.len()));
        record.extend(self.image.slice(&items, counters.len()));
        let at = self.image.put(&record);
        self.returns("prepare", at);
    }

    /// The result's address. The last line's cost lies 8 bytes before it.
    pub fn rating(&mut self, credit: &str, cost: i64, lines: &[(&str, i64)], draw_order: &[&str]) -> u32 {
        let credit = self.image.text(credit);
        let draw_order = self.image.texts(draw_order);
        let mut items = Vec::new();
        for (label, cost) in lines {
            items.extend(self.image.text(label));
            items.extend(1_000_000_i64.to_le_bytes());
            items.extend(5_i64.to_le_bytes());
            items.extend(cost.to_le_bytes());
        }
        let lines = self.image.slice(&items, lines.len());
        self.raw_rating(credit, cost, lines, draw_order)
    }

    pub fn raw_rating(&mut self, credit: Slice, cost: i64, lines: Slice, draw_order: Slice) -> u32 {
        let mut record = vec![0; 8];
        record.extend(credit);
        record.extend(cost.to_le_bytes());
        record.extend(lines);
        record.extend(draw_order);
        let at = self.image.put(&record);
        self.returns("rate", at)
    }

    pub fn refusal(&mut self, code: &str) {
        let mut record = vec![1, 0, 0, 0, 0, 0, 0, 0];
        record.extend(self.image.text(code));
        record.extend(self.image.text("Because."));
        record.extend([0; 16]);
        let at = self.image.put(&record);
        self.returns("rate", at);
    }

    pub fn overage_allow(&mut self, limit: i64) {
        let mut record = vec![1, 0, 0, 0, 0, 0, 0, 0];
        record.extend(limit.to_le_bytes());
        record.extend([0; 24]);
        let at = self.image.put(&record);
        self.returns("overage", at);
    }

    pub fn reset(&mut self, lists: &[Slice; 6]) {
        let at = self.image.put(&lists.concat());
        self.returns("reset", at);
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
              (import \"$root\" \"log\" (func $log (param i32 i32)))
              {memory} {more}
              (global $free (mut i32) (i32.const 65536))
              (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (local i32) {realloc})
              (data (i32.const {IMAGE_AT}) \"{data}\")",
            memory = self.memory,
            more = self.more,
            realloc = self.realloc,
        );
        for (export, params) in
            [("describe", ""), ("prepare", "i32 i32"), ("rate", "i32"), ("overage", "i32"), ("reset", "i32")]
        {
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
            ("input_tokens".to_owned(), Quantity(1_200_000_000)),
            ("output_tokens".to_owned(), Quantity(300_000_000)),
        ],
        attributes: vec![
            pair("channel", "api"),
            pair("environment", "production"),
            pair("model", "large"),
            pair("region", "eu-central"),
            pair("tier", "standard"),
        ],
        entity: Some("user-7".parse().unwrap()),
        occurred_at: moment().at,
    }
}

/// Four grants.
pub fn context() -> Context {
    let grant = |entry: u64, category, priority| GrantView {
        id: GrantId { entry, index: 0 },
        credit: "credits".parse().unwrap(),
        category,
        priority,
        amount: Credits(1_000_000_000),
        remaining: Credits(400_000_000),
        effective_at: Timestamp(1_790_000_000_000_000),
        expires_at: Some(Timestamp(1_800_000_000_000_000)),
        features: Vec::new(),
        paid: category == Category::Prepaid,
    };
    Context {
        customer: "acme".parse().unwrap(),
        plan: Some("pro".parse().unwrap()),
        attributes: vec![("segment".to_owned(), "enterprise".to_owned())],
        now: moment(),
        period: period(),
        terms_effective_at: moment(),
        balances: vec![Balance {
            credit: "credits".parse().unwrap(),
            granted: Credits(4_000_000_000),
            used: Credits(2_400_000_000),
            reserved: Credits(0),
            available: Credits(1_600_000_000),
            overage: Credits(0),
        }],
        grants: vec![
            grant(1, Category::Promotional, 0),
            grant(2, Category::Plan, 10),
            grant(3, Category::Rollover, 20),
            grant(12, Category::Prepaid, 30),
        ],
        counters: vec![0, 1_000_000, 123_456_789],
    }
}

pub fn period() -> PeriodView {
    PeriodView { number: 3, start: moment(), end: Some(moment()) }
}
