//! x
use lab::run::{Plan, run};
fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| !w.starts_with("--"))
        .collect();
    let text = std::fs::read_to_string(&args[0]).unwrap();
    let scenario: lab::scenario::Scenario = toml::from_str(&text).unwrap();
    let repeats = args.get(1).map_or(3, |t| t.parse().unwrap());
    let results = run(
        &scenario,
        &Plan {
            seed: 1,
            repeats,
            quick: true,
            threads: 0,
        },
        &|_| {},
    )
    .unwrap();
    let names = [
        "sojourn_mean",
        "sojourn_p99",
        "slowdown_p99",
        "connections_cv",
        "work_cv",
        "overprovision",
        "remapped",
        "remapped_least",
        "broken",
        "cache_hits",
        "refused",
        "disagreement",
        "connections",
    ];
    print!("{:22}", "");
    for n in names {
        print!("{:>13}", &n[..n.len().min(12)]);
    }
    println!();
    for r in &results {
        println!("{:?}", r.point);
        for s in &r.schedulers {
            print!("{:22}", s.name);
            for n in names {
                match s.metrics.get(n) {
                    Some(e) => print!("{:13.5}", e.mean),
                    None => print!("{:>13}", "-"),
                }
            }
            println!();
        }
    }
}
