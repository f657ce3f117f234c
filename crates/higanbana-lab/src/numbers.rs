//! Numbers of results: the digits that are written, and how near another run has to come to them.
//!
//! The last digits of a sum follow from the order of its terms, and that from the processor: one with AVX-512 adds
//! eight numbers at a time, one with AVX2 four. Every number of a result is therefore of a [kind](Numbers), which states
//!
//! * a *floor* $f$, what rounding makes of a zero: $x$ with $\lvert x \rvert < f$ is written as 0, and no digit of $x$
//!   below $f$ is written;
//! * a *tolerance*: $a$ of one run and $b$ of another agree where
//!   $$\lvert a - b \rvert \le t + t_r \max(\lvert a \rvert, \lvert b \rvert).$$
//!
//! A descent that is cut off amplifies rounding: step by step two processors part, and both stand elsewhere when the
//! steps are spent. Such numbers have a kind of their own, which a flag beside them [brings about](Numbers::flag).
//!
//! Everything that is committed is [written] here, and [compared](crate::compare) by the same kinds.

use serde_json::{Map, Value};

/// What holds of the numbers under some keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    /// The keys: of the number itself, or of what it is part of, the innermost first. Whole numbers and flags below
    /// them are compared within the tolerance, too, a flag as 0 or 1; everywhere else they have to be equal.
    pub keys: &'static [&'static str],
    /// A flag beside the key, or beside what it is part of; where it is not set, the kind does not apply.
    pub flag: Option<&'static str>,
    /// $f$.
    pub floor: f64,
    /// Digits that are written, from the first that is not 0.
    pub digits: usize,
    /// $t$.
    pub absolute: f64,
    /// $t_r$.
    pub relative: f64,
}

impl Numbers {
    /// Of every number without a kind of its own: of order 1, computed in `f64` from what is no more than rounded.
    pub const COMPUTED: Self = Self {
        keys: &[],
        flag: None,
        floor: 1e-12,
        digits: 6,
        absolute: 2e-12,
        // One in the sixth digit, which rounding to six may move.
        relative: 2e-5,
    };

    /// What is asked, and not computed: all digits, and equal.
    pub const GIVEN: Self =
        Self { floor: 0.0, digits: 17, absolute: 0.0, relative: 0.0, ..Self::COMPUTED };

    /// The kind under a key, within what is of this one, where these flags are set.
    pub(crate) fn under(self, kinds: &[Self], key: &str, flags: &[&str]) -> Self {
        let is_set = |flag| flags.contains(&flag);
        let applies = |kind: &&Self| kind.keys.contains(&key) && kind.flag.is_none_or(is_set);
        kinds.iter().find(applies).copied().unwrap_or(self)
    }

    /// How far apart two numbers may be.
    pub fn tolerance(self, a: f64, b: f64) -> f64 {
        self.absolute + self.relative * a.abs().max(b.abs())
    }

    /// Whether two numbers agree.
    pub fn agree(self, a: f64, b: f64) -> bool {
        (a - b).abs() <= self.tolerance(a, b)
    }

    /// The number as it is written.
    pub fn written(self, x: f64) -> f64 {
        if x.abs() < self.floor {
            return 0.0;
        }
        // Of 2.3e-7 above a floor of 1e-7, one digit.
        let above =
            if self.floor > 0.0 { (x.abs() / self.floor).log10().floor() } else { f64::INFINITY };
        let digits = (above + 1.0).clamp(1.0, self.digits as f64) as usize;
        format!("{x:.*e}", digits - 1).parse().unwrap_or(x)
    }
}

/// Results as they are written.
pub fn written(kinds: &[Numbers], results: Value) -> Value {
    within(Numbers::COMPUTED, kinds, &[], results)
}

fn within(kind: Numbers, kinds: &[Numbers], flags: &[&str], value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or(Value::Null, |x| kind.written(x).into())
        }
        Value::Array(items) => {
            items.into_iter().map(|item| within(kind, kinds, flags, item)).collect()
        }
        Value::Object(fields) => {
            let flags = [flags, &set(kinds, &fields)].concat();
            let field = |(key, value): (String, Value)| {
                let kind = kind.under(kinds, &key, &flags);
                (key, within(kind, kinds, &flags, value))
            };
            fields.into_iter().map(field).collect()
        }
        other => other,
    }
}

/// The flags of kinds that are set here.
pub(crate) fn set<'k>(kinds: &'k [Numbers], fields: &Map<String, Value>) -> Vec<&'k str> {
    let flags = kinds.iter().filter_map(|kind| kind.flag);
    flags.filter(|flag| fields.get(*flag) == Some(&Value::Bool(true))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NUMBERS: &[Numbers] = &[
        Numbers { keys: &["left"], flag: Some("cut_off"), digits: 2, ..Numbers::COMPUTED },
        Numbers { keys: &["deviation"], floor: 1e-7, ..Numbers::COMPUTED },
        Numbers { keys: &["gamma"], ..Numbers::GIVEN },
    ];

    #[test]
    fn no_digit_below_the_floor_is_written() {
        let cases = [
            (json!({ "deviation": 2.0504458e-7 }), json!({ "deviation": 2e-7 })),
            (json!({ "deviation": -9.9e-8 }), json!({ "deviation": 0.0 })),
            (json!({ "deviation": 2.2149e-6 }), json!({ "deviation": 2.2e-6 })),
            (json!({ "deviation": 0.123456789 }), json!({ "deviation": 0.123457 })),
            (json!({ "gamma": 0.1 + 0.2 }), json!({ "gamma": 0.1 + 0.2 })),
            (json!([[1.0, 2.27912e-17], 1.0 / 3.0]), json!([[1.0, 0.0], 0.333333])),
            (
                json!({ "ranks": [12345678], "of": "3.14159265" }),
                json!({ "ranks": [12345678], "of": "3.14159265" }),
            ),
        ];
        for (exact, expected) in cases {
            assert_eq!(written(NUMBERS, exact.clone()), expected);
            // What was written is written again as it is.
            assert_eq!(written(NUMBERS, expected.clone()), expected);
        }
    }

    #[test]
    fn a_flag_changes_the_kind_of_what_is_beside_it_and_within() {
        let cell = |cut_off: bool| json!({ "cut_off": cut_off, "in": [{ "left": { "a": 0.123456 } }], "b": 0.123456 });
        assert_eq!(written(NUMBERS, cell(false)), cell(false));
        let expected = json!({ "cut_off": true, "in": [{ "left": { "a": 0.12 } }], "b": 0.123456 });
        assert_eq!(written(NUMBERS, cell(true)), expected);
    }

    #[test]
    fn numbers_agree_within_both_tolerances_together() {
        let kind = Numbers { absolute: 0.1, relative: 0.5, ..Numbers::COMPUTED };
        for (a, b, agree) in
            [(1.0, 2.19, true), (1.0, 2.21, false), (0.0, -0.2, true), (0.0, 0.21, false)]
        {
            assert_eq!((kind.agree(a, b), kind.agree(b, a)), (agree, agree), "{a} {b}");
        }
        assert!(!kind.agree(1.0, f64::NAN));
    }
}
