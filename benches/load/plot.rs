//! Latency by percentile, as SVG: both axes logarithmic, the right end being one request in ten thousand.

use std::fmt::Write;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;
/// Distinct for the colour-blind (Okabe and Ito).
const COLOURS: [&str; 8] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999",
];
/// The last quantile.
const LAST: f64 = 0.9999;

/// Curves by name: quantiles with their latency in microseconds.
pub(crate) fn svg(title: &str, curves: &[(&str, Vec<(f64, u64)>)]) -> String {
    let all = curves
        .iter()
        .flat_map(|(_, points)| points.iter().map(|(_, micros)| *micros));
    let (least, most) = all.fold((u64::MAX, 1), |(least, most), micros| {
        (least.min(micros), most.max(micros))
    });
    // Whole decades.
    let low = (least.clamp(1, most) as f64).log10().floor();
    let high = (most as f64).log10().ceil().max(low + 1.0);
    let y = |micros: f64| HEIGHT - BOTTOM - (micros.log10() - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/><text x="{LEFT}" y="24" font-size="15">{}</text>"#,
        escaped(title)
    );
    let mut decade = low;
    while decade <= high {
        let (micros, at) = (10f64.powf(decade), y(10f64.powf(decade)));
        let label = if micros >= 1000.0 {
            format!("{} ms", micros / 1000.0)
        } else {
            format!("{micros} µs")
        };
        let _ = write!(
            out,
            r##"<line x1="{LEFT}" x2="{}" y1="{at}" y2="{at}" stroke="#ddd"/><text x="{}" y="{}" text-anchor="end">{label}</text>"##,
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
        decade += 1.0;
    }
    for (quantile, label) in [
        (0.5, "p50"),
        (0.9, "p90"),
        (0.99, "p99"),
        (0.999, "p99.9"),
        (LAST, "p99.99"),
    ] {
        let at = x(quantile);
        let _ = write!(
            out,
            r##"<line x1="{at}" x2="{at}" y1="{TOP}" y2="{}" stroke="#ddd"/><text x="{at}" y="{}" text-anchor="middle">{label}</text>"##,
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 20.0
        );
    }
    for ((n, (name, points)), colour) in curves.iter().enumerate().zip(COLOURS.iter().cycle()) {
        let line: Vec<String> = points
            .iter()
            .map(|(quantile, micros)| format!("{:.1},{:.1}", x(*quantile), y((*micros).max(1) as f64)))
            .collect();
        let beside = TOP + 18.0 * n as f64;
        let _ = write!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/><text x="{}" y="{beside}" fill="{colour}">{}</text>"#,
            line.join(" "),
            WIDTH - RIGHT + 15.0,
            escaped(name)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// By how rare the latencies beyond a quantile are, from one in two on.
fn x(quantile: f64) -> f64 {
    let rarity = |q: f64| -(1.0 - q).log10();
    let share = (rarity(quantile) - rarity(0.5)) / (rarity(LAST) - rarity(0.5));
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
