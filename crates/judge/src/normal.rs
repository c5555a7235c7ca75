//! The standard normal distribution: distribution function and quantile.

/// P(Z ≤ z). Complementary error function by the Chebyshev fit of Press et al., "Numerical Recipes",
/// section 6.2: relative error below 1.2e-7 everywhere, so small tails keep their order.
pub(crate) fn cumulative(z: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let polynomial = COEFFICIENTS.iter().fold(0.0, |sum, coefficient| sum * t + coefficient);
    let tail = 0.5 * t * (-x * x + polynomial).exp();
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// The z with P(Z ≤ z) = `p`, for `p` in (0, 1). Rational approximation by P. J. Acklam (2003),
/// relative error below 1.2e-9.
pub(crate) fn quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    const LOW: f64 = 0.024_25;
    let evaluate =
        |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    if p < LOW {
        let q = (-2.0 * p.ln()).sqrt();
        evaluate(&C, q) / evaluate(&D, q)
    } else if p > 1.0 - LOW {
        -quantile(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        evaluate(&A, r) * q / evaluate(&B, r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_inverts_the_distribution_function() {
        for p in [1e-6, 0.001, 0.01105, 0.025, 0.2, 0.5, 0.8, 0.975, 0.9999] {
            assert!((cumulative(quantile(p)) / p - 1.0).abs() < 1e-5, "{p}");
        }
        assert!((quantile(0.975) - 1.959_963_985).abs() < 1e-8);
    }
}
