//! The encoder's text, read back into families: to put the pieces of each together, and to answer Spring's questions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use utoipa::ToSchema;

/// The two text formats that Prometheus reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A metric in the shape of Spring Boot's metrics endpoint.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricReport {
    /// Its name, as Prometheus knows it.
    pub name: String,
    /// What it counts.
    pub description: String,
    /// The unit of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_unit: Option<String>,
    /// Its values, summed over everything that the asked tags leave.
    pub measurements: Vec<Measurement>,
    /// By which tags, and which of their values, it can be asked for more narrowly.
    pub available_tags: Vec<AvailableTag>,
}

/// One value of a metric.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Measurement {
    /// What the value says.
    pub statistic: Statistic,
    /// The value.
    pub value: f64,
}

/// What a value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Statistic {
    /// How many: of a counter or a histogram.
    Count,
    /// The sum of what a histogram observed.
    Total,
    /// A gauge's.
    Value,
}

/// A tag (Prometheus: label) and the values it has.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AvailableTag {
    /// The tag.
    pub tag: String,
    /// Its values.
    pub values: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Family<'a> {
    help: &'a str,
    kind: &'a str,
    unit: Option<&'a str>,
    samples: Vec<&'a str>,
}

/// A sample line taken apart: what follows the family's name, the labels, the value.
struct Sample<'a> {
    suffix: &'a str,
    labels: BTreeMap<&'a str, String>,
    value: f64,
}

/// The families' names, in order.
pub(crate) fn names(text: &str) -> Vec<String> {
    families(text).into_keys().map(str::to_owned).collect()
}

/// The text with each family in one piece, as both formats demand.
pub(crate) fn render(text: &str, format: Format) -> String {
    let mut out = String::with_capacity(text.len());
    for (name, family) in families(text) {
        family.render(name, format, &mut out);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// The metric `name` as far as it has all of `tags`, if there is any such. Spring's dotted names find it too.
pub(crate) fn describe(text: &str, name: &str, tags: &[(&str, &str)]) -> Option<MetricReport> {
    let (name, family) = families(text).remove_entry(name.replace('.', "_").as_str())?;
    let has_tags = |sample: &Sample| {
        let has = |(tag, value): &(&str, &str)| sample.labels.get(tag).is_some_and(|v| v == value);
        tags.iter().all(has)
    };
    let samples: Vec<_> =
        family.samples.iter().filter_map(|line| Sample::parse(line.strip_prefix(name)?)).filter(has_tags).collect();
    (!samples.is_empty()).then(|| MetricReport {
        name: name.to_owned(),
        description: family.help.to_owned(),
        base_unit: family.unit.map(str::to_owned),
        measurements: measurements(&samples),
        available_tags: available_tags(&samples, tags),
    })
}

fn families(text: &str) -> BTreeMap<&str, Family<'_>> {
    let mut families = BTreeMap::<&str, Family>::new();
    let mut current = "";
    for line in text.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            families.entry(current).or_default().samples.push(line);
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        if let (Some(keyword), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) {
            current = name;
            families.entry(name).or_default().note(keyword, rest);
        }
    }
    families
}

impl<'a> Family<'a> {
    fn note(&mut self, keyword: &str, rest: &'a str) {
        match keyword {
            "HELP" => self.help = rest,
            "TYPE" => self.kind = rest,
            "UNIT" => self.unit = Some(rest),
            _ => {}
        }
    }

    fn render(&self, name: &str, format: Format, out: &mut String) {
        let Self { help, kind, .. } = self;
        // The older format knows a counter by the name of its sample, and no units.
        let total = if format == Format::Prometheus && *kind == "counter" { "_total" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name}{total} {help}\n# TYPE {name}{total} {kind}");
        if let (Some(unit), Format::OpenMetrics) = (self.unit, format) {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
        for sample in &self.samples {
            out.push_str(sample);
            out.push('\n');
        }
    }
}

impl<'a> Sample<'a> {
    /// Parses what follows the family's name: `_total{service="order"} 7`.
    fn parse(line: &'a str) -> Option<Self> {
        let (suffix, rest) = line.split_at(line.find(['{', ' '])?);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => parse_labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self { suffix, labels, value })
    }

    fn statistic(&self) -> Option<Statistic> {
        match self.suffix {
            "" => Some(Statistic::Value),
            "_total" | "_count" => Some(Statistic::Count),
            "_sum" => Some(Statistic::Total),
            _ => None,
        }
    }
}

/// Parses `a="x",b="y"} …` and hands back what follows the bracket.
fn parse_labels(mut rest: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = parse_quoted(quoted)?;
        labels.insert(name, value);
        rest = after;
    }
}

/// Parses up to the closing quote, undoing the escapes of the text format.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            char => value.push(char),
        }
    }
    None
}

fn measurements(samples: &[Sample]) -> Vec<Measurement> {
    let mut sums = BTreeMap::<Statistic, f64>::new();
    for sample in samples {
        if let Some(statistic) = sample.statistic() {
            *sums.entry(statistic).or_default() += sample.value;
        }
    }
    let measurement = |(statistic, value)| Measurement { statistic, value };
    sums.into_iter().map(measurement).collect()
}

fn available_tags(samples: &[Sample], asked: &[(&str, &str)]) -> Vec<AvailableTag> {
    let mut tags = BTreeMap::<&str, BTreeSet<String>>::new();
    for sample in samples.iter().filter(|sample| sample.statistic().is_some()) {
        for (tag, value) in &sample.labels {
            tags.entry(tag).or_default().insert(value.clone());
        }
    }
    tags.retain(|tag, _| !asked.iter().any(|(name, _)| name == tag));
    let available = |(tag, values): (&str, _)| AvailableTag { tag: tag.to_owned(), values };
    tags.into_iter().map(available).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What two services that count the same thing make the encoder write.
    const TEXT: &str = "\
# HELP orders Orders placed.
# TYPE orders counter
orders_total{service=\"a\"} 2
# HELP took_seconds Time taken.
# TYPE took_seconds histogram
# UNIT took_seconds seconds
took_seconds_sum{uri=\"/x, \\\"y\\\"}\"} 1.5
took_seconds_count{uri=\"/x, \\\"y\\\"}\"} 3
took_seconds_bucket{le=\"+Inf\",uri=\"/x, \\\"y\\\"}\"} 3
# HELP orders Orders placed.
# TYPE orders counter
orders_total{service=\"b\"} 5
";

    #[test]
    fn a_family_in_pieces_is_put_together() {
        let rendered = render(TEXT, Format::OpenMetrics);
        let orders = "# HELP orders Orders placed.\n# TYPE orders counter\n\
                      orders_total{service=\"a\"} 2\norders_total{service=\"b\"} 5\n";
        assert!(rendered.starts_with(orders), "{rendered}");
        assert!(rendered.contains("# UNIT took_seconds seconds\n"));
        assert!(rendered.ends_with("# EOF\n"));
    }

    #[test]
    fn the_older_format_names_a_counter_by_its_sample_and_has_no_units() {
        let rendered = render(TEXT, Format::Prometheus);
        assert!(rendered.contains("# TYPE orders_total counter\n"), "{rendered}");
        assert!(!rendered.contains("# UNIT") && !rendered.contains("# EOF"), "{rendered}");
    }

    #[test]
    fn a_metric_is_summed_over_its_samples_and_tells_its_tags() {
        let report = describe(TEXT, "orders", &[]);
        let values = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let expected = MetricReport {
            name: "orders".to_owned(),
            description: "Orders placed.".to_owned(),
            base_unit: None,
            measurements: vec![Measurement { statistic: Statistic::Count, value: 7.0 }],
            available_tags: vec![AvailableTag { tag: "service".to_owned(), values }],
        };
        assert_eq!(report, Some(expected));
    }

    #[test]
    fn a_tag_narrows_a_metric_and_is_no_longer_on_offer() {
        let report = describe(TEXT, "orders", &[("service", "b")]);
        let report = report.expect("service b counts orders");
        assert_eq!(report.measurements[0].value.to_bits(), 5.0_f64.to_bits());
        assert_eq!(report.available_tags, []);
        assert_eq!(describe(TEXT, "orders", &[("service", "c")]), None);
    }

    #[test]
    fn a_histogram_is_a_count_and_a_total_under_its_dotted_name_too() {
        let report = describe(TEXT, "took.seconds", &[("uri", "/x, \"y\"}")]);
        let report = report.expect("the label's quotes and brackets are undone");
        let statistics: Vec<_> = report.measurements.iter().map(|m| m.statistic).collect();
        assert_eq!(statistics, [Statistic::Count, Statistic::Total]);
        assert_eq!(report.base_unit.as_deref(), Some("seconds"));
    }
}
