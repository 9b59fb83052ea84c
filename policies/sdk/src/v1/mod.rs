//! The world `proviso:policy/policy@1.0.0`: what is generated from `wit/v1`, and the way from its exports to a
//! [`Module`](crate::Module). Nothing outside this folder knows it, so that another world can stand beside it.

mod convert;

/// The generated code. Records without amounts are the sdk's own types; the others are converted.
#[allow(unsafe_code, missing_docs, unused_qualifications, clippy::all, clippy::indexing_slicing)]
#[allow(unreachable_pub)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        world: "policy",
        pub_export_macro: true,
        export_macro_name: "export_component_v1",
        default_bindings_module: "::proviso_sdk::v1::bindings",
        with: {
            "proviso:policy/types@1.0.0/moment": crate::calendar::Moment,
            "proviso:policy/types@1.0.0/period": crate::calendar::Period,
            "proviso:policy/types@1.0.0/cycle": crate::calendar::Cycle,
            "proviso:policy/types@1.0.0/expiry": crate::calendar::Expiry,
            "proviso:policy/types@1.0.0/attribute": crate::usage::Attribute,
            "proviso:policy/types@1.0.0/entity": crate::usage::Entity,
            "proviso:policy/types@1.0.0/customer": crate::context::Customer,
            "proviso:policy/types@1.0.0/contract": crate::context::Contract,
            "proviso:policy/types@1.0.0/counter": crate::counter::Counter,
            "proviso:policy/types@1.0.0/manifest": crate::policy::Manifest,
            "proviso:policy/types@1.0.0/priced-feature": crate::policy::PricedFeature,
            "proviso:policy/types@1.0.0/problem": crate::problem::Problem,
        },
        generate_all,
    });
}

use crate::{Module, policy::Manifest, problem::Problem};
use alloc::{string::String, vec::Vec};
use bindings::proviso::policy::types as wit;

impl<M: Module> bindings::Guest for M {
    fn describe() -> Manifest {
        M::describe()
    }

    fn prepare(settings: String) -> Result<wit::Prepared, Vec<Problem>> {
        M::prepare(&settings).map(Into::into)
    }

    fn rate(usage: wit::Usage, context: wit::Context, form: Vec<u8>) -> Result<wit::Rating, wit::Refusal> {
        M::rate(&form, &usage.into(), &context.into()).map(Into::into).map_err(Into::into)
    }

    fn overage(
        usage: wit::Usage,
        rating: wit::Rating,
        shortfall: wit::Decimal,
        context: wit::Context,
        form: Vec<u8>,
    ) -> wit::OverageOutcome {
        M::overage(&form, &usage.into(), &rating.into(), shortfall.into(), &context.into()).into()
    }

    fn close(closing: wit::Closing, context: wit::Context, form: Vec<u8>) -> wit::CloseOutcome {
        M::close(&form, &closing.into(), &context.into()).into()
    }

    fn open(opening: wit::Opening, context: wit::Context, form: Vec<u8>) -> wit::OpenOutcome {
        M::open(&form, &opening.into(), &context.into()).into()
    }
}
