//! The sets that were looked at, by size: for every budget the best, and the curve of size against cost.

use super::search::Set;

/// A step on the curve saves at least that share of the cost.
const STEP: f64 = 0.002;

/// A set whose cost the engine confirmed.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub set: Set,
    /// Bytes.
    pub size: u64,
    /// Weighted cost of the statements.
    pub read: f64,
    /// Weighted cost that it brings to writers.
    pub write: f64,
}

impl Point {
    pub(super) fn objective(&self) -> f64 {
        self.read + self.write
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Archive {
    points: Vec<Point>,
}

impl Archive {
    /// Adds a set, unless it is known.
    pub(super) fn add(&mut self, point: Point) {
        match self.points.iter_mut().find(|known| known.set == point.set) {
            // A plan found since may be cheaper.
            Some(known) => *known = point,
            None => self.points.push(point),
        }
    }

    /// The best set within a budget, by a penalty for each index: of equal ones the smaller.
    pub(super) fn best(
        &self,
        budget: u64,
        penalised: impl Fn(f64, usize) -> f64,
    ) -> Option<&Point> {
        let score = |point: &Point| penalised(point.objective(), point.set.len());
        self.points.iter().filter(|point| point.size <= budget).min_by(|a, b| {
            score(a).total_cmp(&score(b)).then(a.size.cmp(&b.size)).then(a.set.cmp(&b.set))
        })
    }

    /// The sets that no other beats in both size and cost, the smallest first, without steps too small to matter.
    pub(super) fn frontier(&self) -> Vec<&Point> {
        let mut points: Vec<&Point> = self.points.iter().collect();
        points.sort_by(|a, b| {
            a.size
                .cmp(&b.size)
                .then(a.objective().total_cmp(&b.objective()))
                .then(a.set.cmp(&b.set))
        });
        let mut best = f64::INFINITY;
        points.retain(|point| {
            let better = point.objective() < best * (1.0 - STEP);
            if better {
                best = point.objective();
            }
            better
        });
        points
    }
}

/// Where the curve bends most: the point furthest below the line from its first to its last, both axes scaled to
/// 1 (Satopää et al., "Finding a Kneedle in a Haystack", 2011). None for fewer than three points.
pub(super) fn knee(curve: &[(f64, f64)]) -> Option<usize> {
    let (first, last) = (curve.first()?, curve.last()?);
    let (width, height) = (last.0 - first.0, first.1 - last.1);
    if curve.len() < 3 || width <= 0.0 || height <= 0.0 {
        return None;
    }
    let below = |(size, cost): &(f64, f64)| (first.1 - cost) / height - (size - first.0) / width;
    let bends = curve.iter().map(below).enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(bends.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn point(candidates: &[usize], size: u64, read: f64) -> Point {
        Point { set: candidates.iter().copied().collect(), size, read, write: 0.0 }
    }

    #[test]
    fn only_sets_that_no_other_beats_are_on_the_frontier() {
        let mut archive = Archive::default();
        for point in [
            point(&[], 0, 100.0),
            point(&[1], 10, 50.0),
            point(&[2], 12, 60.0),
            point(&[1, 2], 22, 20.0),
        ] {
            archive.add(point);
        }
        let sizes: Vec<u64> = archive.frontier().iter().map(|point| point.size).collect();
        assert_eq!(sizes, [0, 10, 22]);
        let plain = |objective: f64, _: usize| objective;
        assert_eq!(archive.best(15, plain).unwrap().size, 10);
        assert_eq!(archive.best(5, plain).unwrap().size, 0);
    }

    #[test]
    fn the_knee_is_where_more_bytes_stop_paying() {
        let curve = [(0.0, 100.0), (10.0, 30.0), (50.0, 25.0), (100.0, 20.0)];
        assert_eq!(knee(&curve), Some(1));
        assert_eq!(knee(curve.get(..2).unwrap()), None);
    }
}
