//! `driftline-sim`: runs seeds until one fails, and says how to see it again.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use driftline_sim::{Counts, Crash, Fault, Plan, STEPS, compare, kind_of, run, shrink};

const HELP: &str =
    "driftline-sim [--seeds COUNT] [--first SEED] [--threads COUNT]   runs many seeds (default: 2000 from 1)
driftline-sim --seed SEED [--shrink]                              runs one seed
  --steps COUNT        steps of the safety phase (default: 160)
  --without A,B,…      leaves out kinds of faults; --without help lists them
  --wire NAME          speaks to the sync server so, whatever the seed; --wire help lists them
  --faults             prints how often each fault has struck
  --crash-before N     the tab that makes the Nth write to disk dies before it is done (with --seed)
  --crash-after N      … or right after, told of nothing
  --keep-going         runs all seeds and lists what fails, by kind
  --verbose            prints the trace
The last lines of a failing seed's trace are printed in any case. It exits with 1 if a seed fails.";
/// One seed in so many is run beside the reference model, too, for so many steps.
const COMPARE_EVERY_SEEDS: u64 = 8;
const COMPARE_STEPS: u32 = 200;
/// Lines of a failing trace that are printed without `--verbose`.
const TAIL_LINES: usize = 60;
/// Characters of a violation that a list shows.
const KIND_CHARS: usize = 300;

struct Options {
    first: u64,
    seeds: u64,
    single: bool,
    shrink: bool,
    verbose: bool,
    keep_going: bool,
    faults: bool,
    threads: usize,
    plan: Plan,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Some(options)) if options.single => one(&options),
        Ok(Some(options)) => many(&options),
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn one(options: &Options) -> ExitCode {
    let mut plan = options.plan.clone();
    if options.shrink {
        plan = shrink(&plan);
        println!("shrunk to: {plan}");
    }
    let report = run(&plan, true);
    let skip = if options.verbose { 0 } else { report.trace.len().saturating_sub(TAIL_LINES) };
    if options.verbose || report.violation.is_some() {
        for line in &report.trace[skip..] {
            println!("{line}");
        }
    }
    println!(
        "trace {:016x}, {} lines, {} s of virtual time, {:?}",
        report.hash,
        report.trace.len(),
        report.virtual_ms / 1_000,
        report.counts
    );
    match report.violation {
        Some(violation) => {
            println!("FAILED: {plan}\n{violation}");
            ExitCode::FAILURE
        }
        None => {
            println!("all holds: {plan}");
            ExitCode::SUCCESS
        }
    }
}

fn many(options: &Options) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(options.first);
    let end = options.first.saturating_add(options.seeds);
    let stop = AtomicBool::new(false);
    let found: Mutex<Option<Plan>> = Mutex::new(None);
    let kinds: Mutex<BTreeMap<String, (u64, u64, String)>> = Mutex::new(BTreeMap::new());
    let total: Mutex<(Counts, u64, u64)> = Mutex::new((Counts::default(), 0, 0));
    let compared = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let plan = Plan { seed, ..options.plan.clone() };
                    let mut report = run(&plan, false);
                    if seed.is_multiple_of(COMPARE_EVERY_SEEDS) {
                        report.violation = report.violation.or_else(|| compare(seed, COMPARE_STEPS));
                        compared.fetch_add(u64::from(COMPARE_STEPS), Ordering::Relaxed);
                    }
                    let mut total = total.lock().expect("no thread panics while it holds the lock");
                    total.0 += report.counts;
                    total.1 += report.virtual_ms / 1_000;
                    total.2 += 1;
                    if let (Some(violation), true) = (&report.violation, options.keep_going) {
                        let mut kinds = kinds.lock().expect("no thread panics while it holds the lock");
                        let entry =
                            kinds.entry(kind_of(violation)).or_insert_with(|| (0, seed, violation.clone()));
                        entry.0 += 1;
                        if seed < entry.1 {
                            (entry.1, entry.2) = (seed, violation.clone());
                        }
                    } else if report.violation.is_some() {
                        stop.store(true, Ordering::Relaxed);
                        let mut found = found.lock().expect("no thread panics while it holds the lock");
                        // The lowest seed, whichever thread was faster.
                        if found.as_ref().is_none_or(|other| other.seed > seed) {
                            *found = Some(plan);
                        }
                    }
                }
            });
        }
    });
    let (counts, virtual_s, ran) = total.into_inner().expect("no thread panics while it holds the lock");
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{ran} seeds from {} in {seconds:.1} s ({:.0} a second): {} steps, {} events, {} h of virtual time",
        options.first,
        ran as f64 / seconds.max(0.001),
        counts.steps,
        counts.events,
        virtual_s / 3_600
    );
    println!("{} steps beside the reference model", compared.load(Ordering::Relaxed));
    println!("{counts:?}");
    if options.faults {
        print_faults(&counts);
    }
    let kinds = kinds.into_inner().expect("no thread panics while it holds the lock");
    for (count, seed, violation) in kinds.values() {
        println!("{count} fail like seed {seed}: {violation:.KIND_CHARS$}");
    }
    if !kinds.is_empty() {
        return ExitCode::FAILURE;
    }
    match found.into_inner().expect("no thread panics while it holds the lock") {
        None => ExitCode::SUCCESS,
        Some(plan) => {
            println!("seed {} fails; looking for a smaller plan", plan.seed);
            one(&Options { plan, shrink: true, ..Options { verbose: options.verbose, ..defaults() } })
        }
    }
}

fn print_faults(counts: &Counts) {
    for (fault, times) in Fault::ALL.iter().zip(counts.faults.0) {
        println!("{times:>9} {fault}");
    }
}

fn defaults() -> Options {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Options {
        first: 1,
        seeds: 2_000,
        single: false,
        shrink: false,
        verbose: false,
        keep_going: false,
        faults: false,
        threads,
        plan: Plan::new(1, STEPS),
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = defaults();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--verbose" | "-v" => options.verbose = true,
            "--shrink" => options.shrink = true,
            "--keep-going" => options.keep_going = true,
            "--faults" => options.faults = true,
            name @ ("--seeds" | "--first" | "--seed" | "--steps" | "--threads" | "--without" | "--wire"
            | "--crash-before" | "--crash-after") => {
                let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
                let number = || {
                    value
                        .parse::<u64>()
                        .map_err(|_| format!("{name} wants a whole number, and {value} is none"))
                };
                match name {
                    "--seeds" => options.seeds = number()?,
                    "--first" => options.first = number()?,
                    "--seed" => (options.single, options.plan.seed) = (true, number()?),
                    "--steps" => {
                        options.plan.steps =
                            u32::try_from(number()?).map_err(|_| "--steps is too large".to_owned())?
                    }
                    "--crash-before" => options.plan.crash = Some(Crash::Before(number()?)),
                    "--crash-after" => options.plan.crash = Some(Crash::After(number()?)),
                    "--wire" => options.plan.wire = Some(value.parse()?),
                    "--threads" => {
                        options.threads = usize::try_from(number()?.max(1))
                            .map_err(|_| "--threads is too large".to_owned())?
                    }
                    _ => {
                        for fault in value.split(',') {
                            options.plan.without.insert(fault.parse::<Fault>()?);
                        }
                    }
                }
            }
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(Some(options))
}
