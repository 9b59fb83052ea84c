//! When a lane backs off for other hosts that write the same customers. Where two hosts are after one customer, whoever
//! has committed leaves the next commit to the other; else each would decide all of its requests in vain every other time,
//! or one of them for ever.

/// Batches for which contention is assumed after it was met.
const CONTENDED_BATCHES: u32 = 32;
/// Batches of a hot customer in a row after which a lane backs off once: another host may be waiting, and only the one that
/// loses knows of the other.
const MAX_HOT_BATCHES: u32 = 32;

#[derive(Debug, Default)]
pub(super) struct Contention {
    /// The batches for which contention is still assumed.
    contended: u32,
    /// The batches of a hot customer since the lane last backed off.
    hot: u32,
}

impl Contention {
    /// Whether other hosts are believed to write the same customers.
    pub fn is_likely(&self) -> bool {
        self.contended > 0
    }

    /// Takes note of a durable batch, and whether it was a hot one that other hosts may write, too; says whether to back off
    /// now.
    pub fn committed(&mut self, is_hot: bool) -> bool {
        self.contended = self.contended.saturating_sub(1);
        self.hot = if is_hot { self.hot.saturating_add(1) } else { 0 };
        let backs_off = self.is_likely() || self.hot >= MAX_HOT_BATCHES;
        if backs_off {
            self.hot = 0;
        }
        backs_off
    }

    /// Takes note of a conflict with another host over customers that both keep writing.
    pub fn lost(&mut self) {
        self.contended = CONTENDED_BATCHES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back_offs(contention: &mut Contention, batches: u32, is_hot: bool) -> u32 {
        (0..batches).map(|_| u32::from(contention.committed(is_hot))).sum()
    }

    #[test]
    fn the_loser_backs_off_for_a_while() {
        let mut contention = Contention::default();
        assert_eq!(back_offs(&mut contention, 1_000, false), 0);
        contention.lost();
        assert!(contention.is_likely());
        assert_eq!(back_offs(&mut contention, 1_000, false), CONTENDED_BATCHES - 1);
        assert!(!contention.is_likely());
    }

    #[test]
    fn a_hot_customer_is_let_go_of_once_in_a_run() {
        let mut contention = Contention::default();
        assert_eq!(back_offs(&mut contention, MAX_HOT_BATCHES - 1, true), 0);
        assert_eq!(back_offs(&mut contention, 1, true), 1);
        assert_eq!(back_offs(&mut contention, 2 * MAX_HOT_BATCHES, true), 2);
        // Another batch in between ends the run.
        assert_eq!(back_offs(&mut contention, MAX_HOT_BATCHES - 1, true), 0);
        assert_eq!(back_offs(&mut contention, 1, false), 0);
        assert_eq!(back_offs(&mut contention, MAX_HOT_BATCHES - 1, true), 0);
    }
}
