//! The scenarios that come with the lab.

/// Every shipped scenario: name of its file, and its text.
pub const SHIPPED: &[(&str, &str)] = &[
    (
        "standard.toml",
        include_str!("../../scenarios/standard.toml"),
    ),
    ("load.toml", include_str!("../../scenarios/load.toml")),
    (
        "heavy-tail.toml",
        include_str!("../../scenarios/heavy-tail.toml"),
    ),
    ("bimodal.toml", include_str!("../../scenarios/bimodal.toml")),
    ("steady.toml", include_str!("../../scenarios/steady.toml")),
    ("bursty.toml", include_str!("../../scenarios/bursty.toml")),
    ("weights.toml", include_str!("../../scenarios/weights.toml")),
    (
        "large-weights.toml",
        include_str!("../../scenarios/large-weights.toml"),
    ),
    ("speeds.toml", include_str!("../../scenarios/speeds.toml")),
    (
        "long-and-short.toml",
        include_str!("../../scenarios/long-and-short.toml"),
    ),
    (
        "lognormal.toml",
        include_str!("../../scenarios/lognormal.toml"),
    ),
    ("closed.toml", include_str!("../../scenarios/closed.toml")),
    ("zipf.toml", include_str!("../../scenarios/zipf.toml")),
    ("nat.toml", include_str!("../../scenarios/nat.toml")),
    ("subnets.toml", include_str!("../../scenarios/subnets.toml")),
    ("udp.toml", include_str!("../../scenarios/udp.toml")),
    (
        "udp-one-packet.toml",
        include_str!("../../scenarios/udp-one-packet.toml"),
    ),
    (
        "port-reuse.toml",
        include_str!("../../scenarios/port-reuse.toml"),
    ),
    (
        "syn-flood.toml",
        include_str!("../../scenarios/syn-flood.toml"),
    ),
    (
        "brown-out.toml",
        include_str!("../../scenarios/brown-out.toml"),
    ),
    ("churn.toml", include_str!("../../scenarios/churn.toml")),
    (
        "rolling-update.toml",
        include_str!("../../scenarios/rolling-update.toml"),
    ),
    (
        "autoscaling.toml",
        include_str!("../../scenarios/autoscaling.toml"),
    ),
    ("drain.toml", include_str!("../../scenarios/drain.toml")),
    (
        "thresholds.toml",
        include_str!("../../scenarios/thresholds.toml"),
    ),
    (
        "newcomer.toml",
        include_str!("../../scenarios/newcomer.toml"),
    ),
    (
        "slow-start.toml",
        include_str!("../../scenarios/slow-start.toml"),
    ),
    (
        "comes-back.toml",
        include_str!("../../scenarios/comes-back.toml"),
    ),
    ("add.toml", include_str!("../../scenarios/add.toml")),
    ("remove.toml", include_str!("../../scenarios/remove.toml")),
    ("flap.toml", include_str!("../../scenarios/flap.toml")),
    (
        "weight-change.toml",
        include_str!("../../scenarios/weight-change.toml"),
    ),
    ("cache.toml", include_str!("../../scenarios/cache.toml")),
    (
        "directors.toml",
        include_str!("../../scenarios/directors.toml"),
    ),
    (
        "directors-shared.toml",
        include_str!("../../scenarios/directors-shared.toml"),
    ),
    (
        "director-dies.toml",
        include_str!("../../scenarios/director-dies.toml"),
    ),
    ("restart.toml", include_str!("../../scenarios/restart.toml")),
    (
        "restart-strict.toml",
        include_str!("../../scenarios/restart-strict.toml"),
    ),
];
