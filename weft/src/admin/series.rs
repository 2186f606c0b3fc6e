//! Writing series as OpenMetrics: one, a family by labels, a family of histograms.

use std::fmt;

use broker::histogram::{BOUNDS_SECONDS, Histogram};
use broker::report::DestinationReport;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// The library's encoder.
pub(super) type Encoder<'a> = DescriptorEncoder<'a>;

/// A counter without labels.
pub(super) fn counter(
    encoder: &mut Encoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<[(&str, &str); 0], _, f64>(&value, None)
}

/// A gauge without labels.
pub(super) fn gauge(encoder: &mut Encoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&value)
}

/// A family of counters; nothing at all when it has no series.
pub(super) fn counters<'a, const N: usize>(
    encoder: &mut Encoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = ([(&'a str, &'a str); N], u64)>,
) -> fmt::Result {
    let mut series = series.into_iter().peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in series {
        let mut one: MetricEncoder<'_> = metric.encode_family(&labels)?;
        one.encode_counter::<[(&str, &str); 0], _, f64>(&value, None)?;
    }
    Ok(())
}

/// A family of gauges; nothing at all when it has no series.
pub(super) fn gauges<'a, const N: usize>(
    encoder: &mut Encoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = ([(&'a str, &'a str); N], f64)>,
) -> fmt::Result {
    let mut series = series.into_iter().peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

/// A family of histograms, one for each destination.
pub(super) fn histograms(
    encoder: &mut Encoder<'_>,
    name: &str,
    help: &str,
    destinations: &[DestinationReport],
    of: fn(&DestinationReport) -> &Histogram,
) -> fmt::Result {
    if destinations.is_empty() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for destination in destinations {
        let histogram = of(destination);
        let bounds = BOUNDS_SECONDS.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(histogram.buckets).collect();
        metric
            .encode_family(&[("destination", &*destination.key)])?
            .encode_histogram::<[(&str, &str); 0]>(
                histogram.sum_seconds,
                histogram.count(),
                &buckets,
                None,
            )?;
    }
    Ok(())
}
