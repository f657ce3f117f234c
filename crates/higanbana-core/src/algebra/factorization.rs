//! How a dimension is split in two: LoKr's factor shapes, OFT's and BOFT's blocks.

/// Splits `dim` into a pair `(m, n)` with `m · n = dim` and `m <= n`.
///
/// * `factor > 0` divides `dim`: the pair `factor`, `dim / factor`, smaller one first. A large
///   factor therefore becomes a small first entry: `(320, 64)` gives `(5, 64)`.
/// * `factor > 0` otherwise: `m` is the largest divisor with `m <= factor` and `m² <= dim`.
/// * `factor < 0`: the divisor pair closest to the square root.
///
/// Source: LyCORIS 4.1.3, `factorization` (LoKr, arXiv:2309.14859).
///
/// ```text
/// dim      -1          2           4           8           16
///  127    1 127       1 127       1 127       1 127       1 127
///  128    8  16       2  64       4  32       8  16       8  16
///  250   10  25       2 125       2 125       5  50      10  25
///  360   18  20       2 180       4  90       8  45      15  24
///  512   16  32       2 256       4 128       8  64      16  32
/// 1024   32  32       2 512       4 256       8 128      16  64
/// ```
pub fn factorization(dim: usize, factor: i64) -> (usize, usize) {
    let limit = usize::try_from(factor).unwrap_or(dim);
    if factor > 0 && dim.is_multiple_of(limit) {
        let other = dim / limit;
        return (limit.min(other), limit.max(other));
    }
    let m = (1..=limit.min(dim.isqrt())).rev().find(|m| dim.is_multiple_of(*m)).unwrap_or(1);
    (m, dim / m)
}

/// Splits `dim` into `n` blocks of even size `b`, where `n` is a power of two: `(b, n)`.
///
/// `b` is the largest even divisor with `b <= factor` and `dim / b` a power of two; `factor = -1`
/// sets no limit, so that an even `dim` is one block. `None` where no such size exists: 1280 has
/// none below 10.
///
/// Source: LyCORIS 4.1.3, `power2factorization` (BOFT, arXiv:2311.06243).
pub fn power2_factorization(dim: usize, factor: i64) -> Option<(usize, usize)> {
    let limit = if factor == -1 { dim } else { usize::try_from(factor).ok()? };
    (0..=dim.checked_ilog2()?)
        .map(|power| 1 << power)
        .take_while(|n| dim.is_multiple_of(2 * n))
        .map(|n| (dim / n, n))
        .find(|(b, _)| *b <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factorization_equals_the_table_of_lycoris() {
        let factors = [-1, 2, 4, 8, 16];
        let table = [
            (127, [(1, 127), (1, 127), (1, 127), (1, 127), (1, 127)]),
            (128, [(8, 16), (2, 64), (4, 32), (8, 16), (8, 16)]),
            (250, [(10, 25), (2, 125), (2, 125), (5, 50), (10, 25)]),
            (360, [(18, 20), (2, 180), (4, 90), (8, 45), (15, 24)]),
            (512, [(16, 32), (2, 256), (4, 128), (8, 64), (16, 32)]),
            (1024, [(32, 32), (2, 512), (4, 256), (8, 128), (16, 64)]),
        ];
        for (dim, row) in table {
            assert_eq!(factors.map(|factor| factorization(dim, factor)), row, "{dim}");
        }
    }

    #[test]
    fn factorization_of_model_widths_and_edges() {
        for (dim, factor, pair) in [
            (320, 64, (5, 64)),
            (64, 32, (2, 32)),
            (320, -1, (16, 20)),
            (640, -1, (20, 32)),
            (768, -1, (24, 32)),
            (1280, -1, (32, 40)),
            (2048, -1, (32, 64)),
            (3072, -1, (48, 64)),
            (4096, -1, (64, 64)),
            (11008, -1, (86, 128)),
            (320, 7, (5, 64)),
            (320, 0, (1, 320)),
            (12, 1, (1, 12)),
            (1, -1, (1, 1)),
            (1, 4, (1, 1)),
        ] {
            assert_eq!(factorization(dim, factor), pair, "factorization({dim}, {factor})");
        }
    }

    #[test]
    fn power2_factorization_equals_lycoris() {
        for (dim, factor, pair) in [
            (1280, -1, Some((1280, 1))),
            (1280, 8, None),
            (1280, 10, Some((10, 128))),
            (1280, 33, Some((20, 64))),
            (640, 20, Some((20, 32))),
            (320, 9, None),
            (320, 64, Some((40, 8))),
            (384, 8, Some((6, 64))),
            (768, 33, Some((24, 32))),
            (1024, 3, Some((2, 512))),
            (100, 64, Some((50, 2))),
            (250, 64, None),
            (6, 64, Some((6, 1))),
            (2, 2, Some((2, 1))),
            (7, -1, None),
            (1, -1, None),
            (0, -1, None),
            (8, 0, None),
            (8, -2, None),
        ] {
            assert_eq!(power2_factorization(dim, factor), pair, "({dim}, {factor})");
        }
    }
}
