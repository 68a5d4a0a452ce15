//! How long connects of this host usually search for a local port.

use osi_common::layer::Layer;

use crate::layer::LayerMap;
use crate::layer::l4_transport::handshake::TCP_PORT_SEARCH;

/// Fewer searches in a window tell nothing: one that was interrupted is much of their mean.
const FEW: u64 = 20;

/// Windows with as many before anything is usual.
const LEARNED: u64 = 5;

/// Weight of a window in the mean, once there are as many.
const WEIGHT: f64 = 1.0 / 16.0;

/// Searches that take so many times the usual are long, and no example.
const LONG: f64 = 3.0;

/// The mean of the windows' means.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Searches {
    mean_ns: f64,
    windows: u64,
}

impl Searches {
    /// The window's mean in nanoseconds and how many times the usual one it is, where that is several times.
    pub(crate) fn long(&self, map: &LayerMap) -> Option<(f64, f64)> {
        let mean_ns = mean_ns(map)?;
        let times = mean_ns / self.mean_ns.max(1.0);
        (self.windows >= LEARNED && times >= LONG).then_some((mean_ns, times))
    }

    pub(super) fn learn(&mut self, map: &LayerMap) {
        let Some(mean_ns) = mean_ns(map).filter(|_| self.long(map).is_none()) else {
            return;
        };
        self.windows += 1;
        let weight = WEIGHT.max(1.0 / self.windows as f64);
        self.mean_ns += weight * (mean_ns - self.mean_ns);
    }
}

fn mean_ns(map: &LayerMap) -> Option<f64> {
    let latencies = &map.layer(Layer::L4).latencies;
    let reading = latencies
        .iter()
        .find(|row| row.signal.id == TCP_PORT_SEARCH.id)?;
    let searches = reading.histogram.distribution();
    let mean_ns = searches.mean_ns().filter(|_| searches.count() >= FEW)?;
    Some(mean_ns as f64)
}
