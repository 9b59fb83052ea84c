//! Where the crate of the sdk lies, which new policies depend on by its path.

use crate::error::Error;
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Under a folder in which the sdk may be found: the repository, and what an installation has beside its `bin`.
const PLACES: [&str; 2] = ["policies/sdk", "share/proviso/policies/sdk"];

/// The folder of the sdk: the one that is named, else the one in or above the new crate's folder, the working directory or the folder
/// of this binary.
pub fn find(named: Option<&Path>, new: &Path) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        let found = [named.to_owned(), named.join("policies/sdk")].into_iter().find(|folder| is_sdk(folder));
        return found.map_or_else(
            || {
                let detail = "is not the sdk: --sdk takes the folder of the crate proviso-sdk, which is policies/sdk in the \
                              repository of Proviso, or the repository itself";
                Err(Error::Content { path: named.to_owned(), detail: detail.to_owned() })
            },
            |folder| folder.canonicalize().map_err(Error::file(folder)),
        );
    }
    let starts = [std::path::absolute(new).ok(), env::current_dir().ok(), env::current_exe().ok()];
    let starts: Vec<PathBuf> = starts.into_iter().flatten().collect();
    let folders = starts.iter().flat_map(|start| start.ancestors());
    let found =
        folders.flat_map(|folder| PLACES.map(|place| folder.join(place))).find(|folder| is_sdk(folder));
    match found {
        Some(folder) => folder.canonicalize().map_err(Error::file(folder)),
        None => {
            let above: Vec<String> = starts.iter().map(|start| format!("  {}", start.display())).collect();
            let detail = format!(
                "the sdk was not found: there is no policies/sdk in or above\n{}\nget the repository of Proviso and name the folder \
                 with --sdk PATH or PROVISO_SDK",
                above.join("\n")
            );
            Err(Error::Content { path: new.to_owned(), detail })
        }
    }
}

/// The lock file of the sdk's workspace: with it a new crate takes the same versions, which are on this machine already.
pub fn lock_file(sdk: &Path) -> Option<PathBuf> {
    let lock = sdk.ancestors().nth(2)?.join("Cargo.lock");
    lock.is_file().then_some(lock)
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    manifest.lines().any(|line| line.trim() == "name = \"proviso-sdk\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_found_where_it_is_named_or_above() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let sdk = repository.join("policies/sdk").canonicalize().unwrap();
        for (named, new) in [
            (Some(sdk.as_path()), Path::new("/nowhere")),
            (Some(repository), Path::new("/nowhere")),
            (None, &*repository.join("new/deep")),
        ] {
            assert_eq!(find(named, new).unwrap(), sdk, "{named:?} {new:?}");
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let error = find(Some(elsewhere.path()), Path::new("new")).unwrap_err().to_string();
        assert!(error.contains("is not the sdk"), "{error}");
        assert!(lock_file(&sdk).is_some());
    }
}
