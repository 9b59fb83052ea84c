//! Compares a component's imports and exports with the interface. Types are compared by structure, field by field, so that
//! the answer can say where they differ.

use crate::{
    fault::{Finding, Rejection},
    v1::{TYPES, WIT, WORLD},
};
use std::sync::LazyLock;
use wasmparser::{
    Validator, WasmFeatures,
    component_types::{
        ComponentAnyTypeId as AnyType, ComponentDefinedType as Defined, ComponentEntityType as Entity,
        ComponentFuncTypeId, ComponentType, ComponentValType as Val,
    },
    names::KebabString,
    types::Types,
};

/// The world as the validator sees it. An error here is a broken build, which any test of this crate shows.
static REFERENCE: LazyLock<Result<Types, String>> = LazyLock::new(|| {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("policy.wit", WIT).map_err(|error| format!("{error:#}"))?;
    let bytes = wit_component::encode(&resolve, package).map_err(|error| format!("{error:#}"))?;
    Validator::new_with_features(WasmFeatures::all()).validate_all(&bytes).map_err(|error| error.to_string())
});

/// A package is encoded as an export that is a component type, whose one export is the world's own component type.
fn reference() -> Result<(&'static Types, &'static ComponentType), String> {
    let types = REFERENCE.as_ref().map_err(Clone::clone)?;
    let component = |entity: &Entity| match entity {
        Entity::Component(id) | Entity::Type { referenced: AnyType::Component(id), .. } => Some(&types[*id]),
        _ => None,
    };
    let package = types.component_item_for_export("policy").and_then(|item| component(&item.ty));
    let world = package.and_then(|package| package.exports.get(WORLD)).and_then(|item| component(&item.ty));
    world.map(|world| (types, world)).ok_or_else(|| "the interface has no world".to_owned())
}

/// Checks that a component is of the world: exactly its exports, at most its imports.
pub(crate) fn check(types: &Types, imports: &[String], exports: &[String]) -> Result<(), Rejection> {
    let (expected, world) = reference().map_err(|error| Rejection::one("internal", "wit/v1", error))?;
    let mut findings = Vec::new();
    let mut find = |code, place: String, detail: String| findings.push(Finding { code, place, detail });
    for name in imports {
        let place = format!("import `{name}`");
        let found = types.component_item_for_import(name).map(|item| &item.ty);
        match (found, world.imports.get(name).map(|item| &item.ty)) {
            (Some(Entity::Func(a)), Some(Entity::Func(b))) => {
                if let Err(difference) = same_function(types, *a, expected, *b) {
                    find("wrong_type", place, difference);
                }
            }
            (Some(Entity::Instance(id)), _) if name == TYPES => {
                let only_types =
                    types[*id].exports.values().all(|item| matches!(item.ty, Entity::Type { .. }));
                if !only_types {
                    find("foreign_import", place, "has more than types".to_owned());
                }
            }
            // Outer components may import types of their own, which bring in nothing.
            (Some(Entity::Type { .. }), _) => {}
            _ => find("foreign_import", place, "a policy may import nothing but `log`".to_owned()),
        }
    }
    for name in exports.iter().filter(|name| !world.exports.contains_key(*name)) {
        find("foreign_export", format!("export `{name}`"), format!("is not in the world {WORLD}"));
    }
    for (name, item) in &world.exports {
        let Entity::Func(b) = item.ty else { continue };
        let place = format!("export `{name}`");
        match types.component_item_for_export(name).map(|item| &item.ty) {
            Some(Entity::Func(a)) => {
                if let Err(difference) = same_function(types, *a, expected, b) {
                    find("wrong_type", place, difference);
                }
            }
            Some(_) => find("wrong_type", place, "is not a function".to_owned()),
            None => find("missing_export", place, format!("the world {WORLD} needs it")),
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(Rejection(findings)) }
}

fn same_function(
    types: &Types,
    a: ComponentFuncTypeId,
    expected: &Types,
    b: ComponentFuncTypeId,
) -> Result<(), String> {
    let (a, b) = (&types[a], &expected[b]);
    let (found, wanted) = (a.params.len(), b.params.len());
    if found != wanted || a.async_ != b.async_ {
        return Err(format!("takes {found} parameters, not {wanted}"));
    }
    let pair = Pair { types, expected };
    for ((name, a), (wanted, b)) in a.params.iter().zip(&b.params) {
        if name != wanted {
            return Err(format!("parameter `{name}` should be `{wanted}`"));
        }
        pair.same(*a, *b).map_err(|difference| format!("parameter `{name}`{difference}"))?;
    }
    pair.same_optional(a.result, b.result).map_err(|difference| format!("result{difference}"))
}

/// The types of the component and those of the interface. Differences are written from the inside out, as in
/// "field `lines`, element, field `cost`: should be s64".
struct Pair<'a> {
    types: &'a Types,
    expected: &'a Types,
}

impl Pair<'_> {
    fn same(&self, a: Val, b: Val) -> Result<(), String> {
        let (a, b) = match (a, b) {
            (Val::Primitive(a), Val::Primitive(b)) if a == b => return Ok(()),
            (_, Val::Primitive(b)) => return self.same_primitive(a, b),
            (Val::Type(a), Val::Type(b)) => (&self.types[a], &self.expected[b]),
            (Val::Primitive(a), Val::Type(b)) => {
                return Err(format!(": is {a}, should be a {}", kind(&self.expected[b])));
            }
        };
        match (a, b) {
            (Defined::Primitive(a), Defined::Primitive(b)) if a == b => Ok(()),
            (Defined::Record(a), Defined::Record(b)) => {
                names("fields", a.fields.keys(), b.fields.keys())?;
                a.fields.iter().zip(b.fields.values()).try_for_each(|((name, a), b)| {
                    self.same(*a, *b).map_err(|difference| format!(", field `{name}`{difference}"))
                })
            }
            (Defined::Variant(a), Defined::Variant(b)) => {
                names("cases", a.cases.keys(), b.cases.keys())?;
                a.cases.iter().zip(b.cases.values()).try_for_each(|((name, a), b)| {
                    self.same_optional(a.ty, b.ty)
                        .map_err(|difference| format!(", case `{name}`{difference}"))
                })
            }
            (Defined::List { element: a, .. }, Defined::List { element: b, .. }) => {
                self.same(*a, *b).map_err(|difference| format!(", element{difference}"))
            }
            (Defined::Option { ty: a, .. }, Defined::Option { ty: b, .. }) => self.same(*a, *b),
            (Defined::Result { ok: a, err: c, .. }, Defined::Result { ok: b, err: d, .. }) => {
                self.same_optional(*a, *b).map_err(|difference| format!(", ok{difference}"))?;
                self.same_optional(*c, *d).map_err(|difference| format!(", error{difference}"))
            }
            (a, b) => Err(format!(": is a {}, should be a {}", kind(a), kind(b))),
        }
    }

    /// A primitive may stand behind a name of its own.
    fn same_primitive(&self, a: Val, b: wasmparser::PrimitiveValType) -> Result<(), String> {
        match a {
            Val::Primitive(a) if a == b => Ok(()),
            Val::Primitive(a) => Err(format!(": is {a}, should be {b}")),
            Val::Type(id) => match &self.types[id] {
                Defined::Primitive(a) => self.same_primitive(Val::Primitive(*a), b),
                other => Err(format!(": is a {}, should be {b}", kind(other))),
            },
        }
    }

    fn same_optional(&self, a: Option<Val>, b: Option<Val>) -> Result<(), String> {
        match (a, b) {
            (Some(a), Some(b)) => self.same(a, b),
            (None, None) => Ok(()),
            (Some(_), None) => Err(": should have no value".to_owned()),
            (None, Some(_)) => Err(": should have a value".to_owned()),
        }
    }
}

fn names<'a>(
    what: &str,
    found: impl Iterator<Item = &'a KebabString>,
    expected: impl Iterator<Item = &'a KebabString>,
) -> Result<(), String> {
    let found: Vec<&str> = found.map(|name| name.as_str()).collect();
    let expected: Vec<&str> = expected.map(|name| name.as_str()).collect();
    if found == expected {
        Ok(())
    } else {
        Err(format!(": has the {what} {found:?}, should have {expected:?}"))
    }
}

fn kind(defined: &Defined) -> &'static str {
    match defined {
        Defined::Primitive(_) => "primitive",
        Defined::Record(_) => "record",
        Defined::Variant(_) => "variant",
        Defined::List { .. } => "list",
        Defined::Map { .. } => "map",
        Defined::FixedLengthList { .. } => "list of fixed length",
        Defined::Tuple(_) => "tuple",
        Defined::Flags(_) => "set of flags",
        Defined::Enum(_) => "enum",
        Defined::Option { .. } => "option",
        Defined::Result { .. } => "result",
        Defined::Own(_) | Defined::Borrow(_) => "resource",
        Defined::Future { .. } => "future",
        Defined::Stream { .. } => "stream",
    }
}
