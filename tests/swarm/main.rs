use peerloop::sim::Tape;
use peerloop::sim::swarm::{Marks, Profile, run};
use std::time::{Duration, Instant};

#[test]
fn try_out() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (first, count) = (number("FIRST", 0), number("PEERLOOP_SEEDS", 100));
    let verbose = number("V", 0) > 0;
    let (mut events, mut time, mut marks, mut bad) = (0, Duration::ZERO, Marks::default(), 0);
    let began = Instant::now();
    for seed in first..first + count {
        let at = Instant::now();
        let outcome = run(&Tape::from_seed(seed), Profile::Standard);
        let took = at.elapsed();
        events += outcome.events;
        time += outcome.virtual_time;
        marks.merge(&outcome.marks);
        if verbose || took > Duration::from_millis(300) {
            println!("seed {seed}: {} events in {took:?}, {:?} virtual", outcome.events, outcome.virtual_time);
        }
        if number("S", 0) > 0 {
            println!("{}", outcome.scenario);
        }
        if !outcome.violations.is_empty() {
            bad += 1;
            if bad <= 25 {
                println!("seed {seed}: {}", outcome.violations.len());
                for violation in outcome.violations.iter().take(2) {
                    println!("    {}", violation.to_string().chars().take(400).collect::<String>());
                }
            }
        }
    }
    let took = began.elapsed();
    println!(
        "{count} seeds, {events} events, {:.2} virtual days, {bad} bad, {took:?}: {:.2} us per event, {:.1} seeds/s",
        time.as_secs_f64() / 86_400.0,
        took.as_secs_f64() * 1e6 / events as f64,
        count as f64 / took.as_secs_f64(),
    );
    println!("{} marks, missing:", marks.len());
    marks.missing().for_each(|mark| println!("   {mark}"));
}
