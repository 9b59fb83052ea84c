//! A Merkle root over leaves that come one after another, as in RFC 6962: leaves and inner nodes are hashed with different
//! first bytes, and the left subtree is the largest full one. Takes memory for one hash for each level.

use proviso_ledger::model::ids::Digest;

/// The tree so far: the roots of its full subtrees, largest first, with their heights.
#[derive(Debug, Default)]
pub(super) struct Merkle {
    subtrees: Vec<(u32, Digest)>,
}

impl Merkle {
    pub fn add(&mut self, leaf: &[u8]) {
        let (mut height, mut root) = (0, hash(0, leaf, &[]));
        while let Some((last, left)) = self.subtrees.last().copied()
            && last == height
        {
            self.subtrees.pop();
            (height, root) = (height + 1, hash(1, &left.0, &root.0));
        }
        self.subtrees.push((height, root));
    }

    /// The root; of nothing, the digest of nothing.
    pub fn root(&self) -> Digest {
        let mut subtrees = self.subtrees.iter().rev();
        let Some((_, smallest)) = subtrees.next() else { return Digest::of(&[]) };
        subtrees.fold(*smallest, |right, (_, left)| hash(1, &left.0, &right.0))
    }
}

fn hash(kind: u8, left: &[u8], right: &[u8]) -> Digest {
    Digest::of(&[&[kind], left, right].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition.
    fn by_definition(leaves: &[Vec<u8>]) -> Digest {
        match leaves {
            [] => Digest::of(&[]),
            [leaf] => hash(0, leaf, &[]),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                hash(1, &by_definition(left).0, &by_definition(right).0)
            }
        }
    }

    #[test]
    fn the_root_is_that_of_rfc_6962() {
        let leaves: Vec<Vec<u8>> = (0_u8..70).map(|leaf| vec![leaf; usize::from(leaf % 5)]).collect();
        for count in 0..leaves.len() {
            let mut merkle = Merkle::default();
            leaves[..count].iter().for_each(|leaf| merkle.add(leaf));
            assert_eq!(merkle.root(), by_definition(&leaves[..count]), "{count}");
        }
        // The published test vector for one empty leaf.
        let mut merkle = Merkle::default();
        merkle.add(&[]);
        let published = "sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(merkle.root().to_string(), published);
    }
}
