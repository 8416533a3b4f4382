//! Thresholds, counts and settings, as the recordings have them.

use core::net::Ipv4Addr;

use super::*;

fn destination(upper: u32, lower: u32) -> Destination {
    let config = DestinationConfig {
        address: Ipv4Addr::new(10, 2, 0, 11).into(),
        port: 80,
        method: Method::Tunnel,
        tunnel: TunnelConfig {
            kind: TunnelKind::Gue,
            port: 0xfedc,
            checksum: TunnelChecksum::Remote,
        },
        weight: 1,
        upper_threshold: upper,
        lower_threshold: lower,
    };
    let destination = Destination::new(&config, Arc::new(Stats::new(1)), 1);
    assert_eq!(destination.config(), config);
    destination
}

/// [thresholds.x4_y2_wlc]: overloaded at 4, relieved below 2; inactive connections count.
#[test]
fn lower_threshold_ends_the_overload() {
    let destination = destination(4, 2);
    for bound in 1..=4 {
        assert!(
            !destination.is_overloaded(),
            "after {} connections",
            bound - 1
        );
        destination.bind(false);
    }
    assert!(destination.is_overloaded());
    destination.set_active(true);
    destination.unbind(false);
    destination.unbind(true);
    assert!(destination.is_overloaded(), "two are not below two");
    destination.unbind(false);
    assert!(!destination.is_overloaded());
}

/// [thresholds.x3_y0]: 3/4 of 3 is 2.25.
#[test]
fn without_lower_threshold_three_quarters() {
    let destination = destination(3, 0);
    (0..3).for_each(|_| destination.bind(false));
    assert!(destination.is_overloaded());
    destination.unbind(false);
    assert!(!destination.is_overloaded());
}

#[test]
fn templates_do_not_count() {
    let destination = destination(1, 0);
    destination.bind(true);
    assert!(!destination.is_overloaded() && destination.is_bound());
    destination.unbind_template();
    assert!(!destination.is_bound());
}

#[test]
fn raising_the_threshold_ends_the_overload() {
    let destination = destination(1, 0);
    destination.bind(false);
    let mut config = destination.config();
    destination.reconfigure(&config, false);
    assert!(
        destination.is_overloaded(),
        "the same threshold changes nothing"
    );
    config.upper_threshold = 2;
    destination.reconfigure(&config, false);
    assert!(!destination.is_overloaded());
}

#[test]
fn weight_0_keeps_the_last_weight() {
    let destination = destination(0, 0);
    let mut config = destination.config();
    for (weight, added, last) in [(5, false, 5), (0, false, 5), (0, true, 0)] {
        config.weight = weight;
        destination.reconfigure(&config, added);
        assert_eq!(destination.last_weight(), last);
    }
}
