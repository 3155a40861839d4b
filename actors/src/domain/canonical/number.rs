//! Numbers as RFC 8785 §3.2.2.3 writes them: by ECMAScript's `Number::toString`.

use super::CanonicalError;
use super::scanner::Scanner;

/// Integers of this many digits are doubles, and ECMAScript writes them as they are.
const EXACT_DIGITS: usize = 15;
/// Exponents beyond this are all the same: no text is long enough to balance them with digits.
const EXPONENT_LIMIT: i64 = 1 << 40;

/// What becomes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Canonical form; a number whose value that would change is refused.
    Canonical,
    /// As it stands.
    Verbatim,
}

/// Reads one number and appends it to `out`.
pub(super) fn copy(
    scanner: &mut Scanner<'_>,
    mode: Numbers,
    out: &mut Vec<u8>,
) -> Result<(), CanonicalError> {
    let offset = scanner.offset();
    let exact = scan(scanner)?;
    let text = scanner.since(offset);
    if mode == Numbers::Verbatim || (exact && text != "-0") {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    // The standard library rounds correctly (IEEE 754 round to nearest, ties to even).
    let value: f64 = text.parse().map_err(|_| CanonicalError::Number { offset })?;
    if !value.is_finite() {
        return Err(CanonicalError::Number { offset });
    }
    let mut buffer = ryu_js::Buffer::new();
    let canonical = buffer.format(value);
    if !same_value(text, canonical) {
        return Err(CanonicalError::Number { offset });
    }
    out.extend_from_slice(canonical.as_bytes());
    Ok(())
}

/// Steps over a number (RFC 8259 §6). True for an integer short enough to be canonical as it stands.
fn scan(scanner: &mut Scanner<'_>) -> Result<bool, CanonicalError> {
    scanner.take(b'-');
    let leading_zero = scanner.peek() == Some(b'0');
    let digits = scanner.digits();
    if digits == 0 {
        return scanner.fail("a number needs a digit here");
    }
    if leading_zero && digits > 1 {
        return scanner.fail("a number must not begin with zeros");
    }
    let mut integer = true;
    if scanner.take(b'.') {
        integer = false;
        if scanner.digits() == 0 {
            return scanner.fail("a number needs a digit here");
        }
    }
    if scanner.take(b'e') || scanner.take(b'E') {
        integer = false;
        let _ = scanner.take(b'+') || scanner.take(b'-');
        if scanner.digits() == 0 {
            return scanner.fail("a number needs a digit here");
        }
    }
    Ok(integer && digits <= EXACT_DIGITS)
}

/// Compares two numbers as decimals, without rounding. -0 equals 0.
fn same_value(a: &str, b: &str) -> bool {
    let (a, b) = (Decimal::of(a), Decimal::of(b));
    match (a.is_zero(), b.is_zero()) {
        (false, false) => {
            a.negative == b.negative && a.scale() == b.scale() && a.significant().eq(b.significant())
        }
        (a_is_zero, b_is_zero) => a_is_zero == b_is_zero,
    }
}

/// A number's parts, as they stand in its text.
#[derive(Clone, Copy)]
struct Decimal<'t> {
    negative: bool,
    whole: &'t str,
    fraction: &'t str,
    exponent: i64,
}

impl<'t> Decimal<'t> {
    fn of(text: &'t str) -> Self {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, text),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        Self {
            negative,
            whole,
            fraction,
            exponent: bounded_integer(exponent),
        }
    }

    fn is_zero(self) -> bool {
        self.significant().next().is_none()
    }

    /// The digits from the first that is not zero to the last that is not zero.
    fn significant(self) -> impl Iterator<Item = u8> + 't {
        // Zeros at the end of the fraction say nothing, nor those of the whole part where no fraction follows.
        let fraction = self.fraction.trim_end_matches('0');
        let whole = if fraction.is_empty() {
            self.whole.trim_end_matches('0')
        } else {
            self.whole
        };
        whole
            .bytes()
            .chain(fraction.bytes())
            .skip_while(|&digit| digit == b'0')
    }

    /// The power of ten of the place before the first significant digit. Meaningless for zero.
    fn scale(self) -> i64 {
        let whole = self.whole.trim_start_matches('0');
        let places = if whole.is_empty() {
            let zeros = self.fraction.bytes().take_while(|&digit| digit == b'0').count();
            i64::try_from(zeros).map_or(i64::MIN, |zeros| -zeros)
        } else {
            i64::try_from(whole.len()).unwrap_or(i64::MAX)
        };
        places.saturating_add(self.exponent)
    }
}

/// An integer with an optional sign, kept within [`EXPONENT_LIMIT`].
fn bounded_integer(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = digits.bytes().fold(0, |value: i64, digit| {
        (value * 10 + i64::from(digit.wrapping_sub(b'0'))).min(EXPONENT_LIMIT)
    });
    sign * magnitude
}
