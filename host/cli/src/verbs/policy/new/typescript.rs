//! What `policy new --template typescript` makes: a folder that Node.js builds, with the sdk's sources in it, so that nothing of Proviso
//! needs to be published or near.

use super::Files;

/// The template's files; the sdk and the compiler's settings are those of the example in `policies/typescript`.
pub(super) fn files() -> Files {
    macro_rules! own {
        ($path:literal) => {
            include_str!(concat!("../../../../../../policies/typescript/", $path))
        };
    }
    vec![
        ("src/policy.ts", include_str!("templates/typescript/policy.ts"), "the policy"),
        ("cases/defaults.toml", include_str!("templates/blank/defaults.toml"), "the settings of all cases"),
        ("cases/first.toml", include_str!("templates/blank/cases.toml"), "cases that pass"),
        ("package.json", own!("package.json"), "what it is built with"),
        ("package-lock.json", own!("package-lock.json"), "its versions and their digests"),
        ("tsconfig.json", own!("tsconfig.json"), "how strictly it is checked"),
        ("sdk/decimal.ts", own!("sdk/decimal.ts"), "exact numbers"),
        ("sdk/exact.ts", own!("sdk/exact.ts"), "exact numbers in and out"),
        ("sdk/form.ts", own!("sdk/form.ts"), "settings as decisions get them"),
        ("sdk/index.ts", own!("sdk/index.ts"), "what a policy imports"),
        ("sdk/log.ts", own!("sdk/log.ts"), "a line for the log"),
        ("sdk/model.ts", own!("sdk/model.ts"), "what a policy is asked and says"),
        ("sdk/policy.ts", own!("sdk/policy.ts"), "what a policy is"),
        ("sdk/settings.ts", own!("sdk/settings.ts"), "reading settings"),
        ("sdk/wire.ts", own!("sdk/wire.ts"), "the types of the interface"),
    ]
}

/// The name that the example has in its `package.json`.
pub(super) const EXAMPLE: &str = "night-rates-typescript";

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    #[test]
    fn the_whole_sdk_is_in_it() {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/typescript/sdk");
        let there: BTreeSet<String> = fs::read_dir(sdk)
            .unwrap()
            .map(|entry| format!("sdk/{}", entry.unwrap().file_name().to_string_lossy()))
            .collect();
        let copied: BTreeSet<String> = files()
            .into_iter()
            .filter(|(path, ..)| path.starts_with("sdk/"))
            .map(|(path, ..)| path.to_owned())
            .collect();
        assert_eq!(copied, there);
    }
}
