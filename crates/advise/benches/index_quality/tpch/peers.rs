//! What other index advisors reached on the same data and server.
//!
//! Source: the algorithms of Kossmann et al. (*Magic mirror in my hand*, PVLDB 13(11), 2020) in their own
//! implementation, Dexter, and Supabase's index_advisor, all run by us; every set was built and planned with.

const MEBI: f64 = 1024.0 * 1024.0;

/// A set of indexes that another advisor chose.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Who chose it.
    pub who: &'static str,
    /// Real size of the set, bytes.
    pub bytes: u64,
    /// Planner cost of the 19 statements with the set built ÷ without.
    pub ratio: f64,
}

const fn peer(who: &'static str, bytes: u64, ratio: f64) -> Peer {
    Peer { who, bytes, ratio }
}

/// The sets that no other one beats in both size and cost, by size.
const PEERS: &[Peer] = &[
    peer("relaxation (8,467 EXPLAINs)", 33_382_400, 0.96699),
    peer("DTA anytime (7,202)", 49_283_072, 0.92498),
    peer("Extend (628)", 84_295_680, 0.79269),
    peer("CoPhy (1,957)", 90_480_640, 0.78915),
    peer("Dexter (69)", 148_537_344, 0.68204),
    peer("Dexter (71)", 202_121_216, 0.66138),
    peer("Dexter (71)", 223_199_232, 0.65959),
    peer("index_advisor (38)", 297_459_712, 0.65117),
    peer("CoPhy (1,957)", 402_997_248, 0.64196),
    peer("Extend (4,178)", 646_561_792, 0.62635),
    peer("Extend (4,939)", 658_989_056, 0.62300),
    peer("CoPhy (1,957)", 754_712_576, 0.62181),
    peer("DTA anytime (10,625)", 949_149_696, 0.60706),
];

/// Budgets of the comparison, MiB: where the best peer changes.
pub const BUDGETS: [u64; 9] = [50, 90, 145, 215, 390, 430, 630, 860, 920];

/// The best peer of at most that many mebibytes.
pub fn best(mebibytes: f64) -> Option<&'static Peer> {
    PEERS.iter().rev().find(|peer| peer.bytes as f64 <= mebibytes * MEBI)
}
