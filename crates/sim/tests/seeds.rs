//! A few dozen seeds, those that failed once, and the proof that a seed repeats itself.

use driftline_sim::{Crash, Fault, Plan, STEPS, Wire, run};

#[test]
fn the_first_seeds_hold() {
    for seed in 1..=40 {
        let report = run(&Plan::new(seed, STEPS), false);
        assert_eq!(report.violation, None, "--seed {seed}");
    }
}

#[test]
fn the_first_seeds_of_each_wire_to_a_log_hold() {
    for (wire, ..) in Wire::ALL {
        for seed in 1..=12 {
            let plan = Plan { wire: Some(wire), ..Plan::new(seed, STEPS) };
            assert_eq!(run(&plan, false).violation, None, "{plan}");
        }
    }
}

#[test]
fn plans_that_failed_once_hold() {
    for line in include_str!("../regressions.txt").lines() {
        let plan = line.split('#').next().unwrap_or_default().trim();
        if plan.is_empty() {
            continue;
        }
        let report = run(&parse(plan), false);
        assert_eq!(report.violation, None, "{line}");
    }
}

#[test]
fn one_plan_run_twice_gives_the_same_trace() {
    for seed in [2, 5, 8] {
        let plan = Plan::new(seed, STEPS);
        let (first, second) = (run(&plan, true), run(&plan, true));
        assert_eq!(first.trace, second.trace, "--seed {seed}");
        assert_eq!(first.hash, second.hash);
        assert_eq!(first.hash, run(&plan, false).hash, "keeping the trace makes no difference to it");
        assert_ne!(first.hash, run(&Plan::new(seed + 1, STEPS), false).hash);
    }
}

#[test]
fn the_faults_happen() {
    let mut counts = driftline_sim::Counts::default();
    for (seed, (wire, ..)) in (1..=40).zip(Wire::ALL.into_iter().cycle()) {
        let plan = Plan { wire: Some(wire), ..Plan::new(seed, STEPS) };
        counts += run(&plan, false).counts;
    }
    let happened = [
        counts.written,
        counts.completed,
        counts.failed,
        counts.cascaded,
        counts.discarded,
        counts.not_durable,
        counts.applied,
        counts.repeated,
        counts.crashes,
        counts.steals,
        counts.fenced,
        counts.checkpoints,
        counts.resets,
        counts.rekeyed,
        counts.releases,
        counts.pruned,
        counts.mixed,
        counts.outages,
        counts.full,
        counts.forgotten,
        counts.wipes,
        counts.held,
    ];
    assert!(happened.iter().all(|count| *count > 0), "{counts:?}");
    for (fault, times) in Fault::ALL.iter().zip(counts.faults.0) {
        // What a seed has for good is drawn once, and doesn't strike.
        let for_good = matches!(fault, Fault::Full | Fault::Oversize | Fault::Refuse);
        assert!(for_good || times > 0, "{fault} never struck");
    }
}

#[test]
fn without_faults_nothing_crashes_is_stolen_or_refused_by_a_fence() {
    for seed in 1..=10 {
        let plan = Plan { without: Fault::ALL.iter().copied().collect(), ..Plan::new(seed, STEPS) };
        let report = run(&plan, false);
        assert_eq!(report.violation, None, "{plan}");
        assert_eq!(
            (report.counts.crashes, report.counts.steals, report.counts.fenced, report.counts.discarded),
            (0, 0, 0, 0)
        );
        assert!(report.counts.completed > 0);
    }
}

#[test]
fn a_tab_may_die_before_or_after_any_write_to_disk() {
    // Other faults would only blur where it died.
    let without = || Fault::ALL.iter().copied().collect();
    for seed in 1..=3 {
        let plan = Plan { without: without(), ..Plan::new(seed, 30) };
        let writes = run(&plan, false).counts.writes;
        assert!(writes > 30, "{plan} writes {writes} times");
        for write in 1..=writes {
            for crash in [Crash::Before(write), Crash::After(write)] {
                let plan = Plan { crash: Some(crash), ..plan.clone() };
                assert_eq!(run(&plan, false).violation, None, "{plan}");
            }
        }
    }
}

/// Reads `--seed N [--steps N] [--without A,B]`, as the program prints it.
fn parse(text: &str) -> Plan {
    let mut plan = Plan::new(0, STEPS);
    let words: Vec<&str> = text.split_whitespace().collect();
    for pair in words.chunks(2) {
        match *pair {
            ["--seed", value] => plan.seed = value.parse().expect("a seed is a number"),
            ["--crash-before", value] => {
                plan.crash = Some(Crash::Before(value.parse().expect("a write is a number")))
            }
            ["--crash-after", value] => {
                plan.crash = Some(Crash::After(value.parse().expect("a write is a number")))
            }
            ["--wire", value] => plan.wire = Some(value.parse().expect("a wire's name")),
            ["--steps", value] => plan.steps = value.parse().expect("steps are a number"),
            ["--without", value] => {
                plan.without = value.split(',').map(|fault| fault.parse().expect("a fault's name")).collect()
            }
            _ => panic!("not a plan: {text}"),
        }
    }
    plan
}
