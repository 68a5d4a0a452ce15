//! Hand-made snapshots go in, verdicts come out. These are values, not a stand-in for a kernel.

mod banned_clients;

mod builder;

mod cascades;

mod conntrack;

mod cpu_starved;

mod datapath_programs;

mod dependencies;

mod driver_counters;

mod duplicate_address;

mod dns;

mod engine;

mod failed_connects;

mod handshakes;

mod healthy;

mod http;

mod icmp;

mod l1_physical;

mod l2_data_link;

mod l3_network;

mod l4_transport;

mod l5_session;
mod l7_application;

mod link_degraded;

mod loss_and_delay;

mod owner;

mod packet_filtered;

mod path_mtu;

mod port_pools;

mod properties;
mod quic;

mod rows;

mod rule_sets;

mod silent_peers;

mod table;

mod tables;

mod tls;

mod tunnel_or_ipsec_drops;

mod unread;
