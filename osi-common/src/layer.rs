//! The seven layers of the OSI model: the vocabulary that every table, counter and output shares.

/// One layer of the OSI model, ordered from the wire up: `Layer::L1 < Layer::L7`.
///
/// It is a table index and a word in outputs; kernel maps carry no `Layer`, only integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "user", derive(serde::Serialize, serde::Deserialize))]
pub enum Layer {
    /// Physical: links, their speed and errors, the receive backlog of each CPU.
    L1,
    /// Data link: queueing disciplines, neighbours, bridges, XDP and tc programs.
    L2,
    /// Network: routes, packet filters, fragments, tunnels.
    L3,
    /// Transport: TCP and UDP, ports, connection tracking, socket buffers.
    L4,
    /// Session: established connections and what holds them, descriptors.
    L5,
    /// Presentation: TLS and QUIC handshakes.
    L6,
    /// Application: the processes that read, answer and resolve names.
    L7,
}

impl Layer {
    /// Number of layers.
    pub const COUNT: usize = 7;

    /// All layers from the wire up, L1 first: the order in which blame is sought.
    pub const ALL: [Self; Self::COUNT] = [
        Self::L1,
        Self::L2,
        Self::L3,
        Self::L4,
        Self::L5,
        Self::L6,
        Self::L7,
    ];

    /// All layers from the user down, L7 first: the order in which screens list them.
    pub const TOP_DOWN: [Self; Self::COUNT] = [
        Self::L7,
        Self::L6,
        Self::L5,
        Self::L4,
        Self::L3,
        Self::L2,
        Self::L1,
    ];

    /// Number of the layer, 1 to 7.
    pub const fn number(self) -> u8 {
        self.index() as u8 + 1
    }

    /// Position in [`Layer::ALL`], 0 to 6.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Short id, as outputs print it: "L1" to "L7".
    pub const fn id(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::L4 => "L4",
            Self::L5 => "L5",
            Self::L6 => "L6",
            Self::L7 => "L7",
        }
    }

    /// Name of the layer in ISO/IEC 7498-1, in snake case: "physical" to "application".
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "physical",
            Self::L2 => "data_link",
            Self::L3 => "network",
            Self::L4 => "transport",
            Self::L5 => "session",
            Self::L6 => "presentation",
            Self::L7 => "application",
        }
    }

    /// The layer whose [`id`](Self::id) or [`name`](Self::name) this is.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|layer| text == layer.id() || text == layer.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Layer;

    #[test]
    fn ids_names_and_order_agree() {
        for (position, layer) in Layer::ALL.into_iter().enumerate() {
            assert_eq!(layer.index(), position);
            assert_eq!(usize::from(layer.number()), position + 1);
            assert_eq!(Layer::parse(layer.id()), Some(layer));
            assert_eq!(Layer::parse(layer.name()), Some(layer));
            assert_eq!(Layer::TOP_DOWN.get(6 - position), Some(&layer));
        }
        assert_eq!(Layer::parse("L8"), None);
        assert_eq!(Layer::parse(""), None);
    }

    #[test]
    fn the_wire_comes_first() {
        assert!(Layer::ALL.is_sorted());
        assert!(Layer::L1 < Layer::L7);
    }
}
