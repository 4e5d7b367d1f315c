//! What is to be simulated: a seed, a number of steps, and which faults are left out.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::log::Wire;

/// One simulation. Equal plans run alike, to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Everything is drawn from it.
    pub seed: u64,
    /// How many steps the safety phase has: each is a turn of the app's or a fault.
    pub steps: u32,
    /// Faults that do not happen.
    pub without: BTreeSet<Fault>,
    /// The tab that makes this write to disk, counted from 1, dies right before it is done or right after.
    pub crash: Option<Crash>,
    /// How the sync server is spoken to, if that is not left to the seed.
    pub wire: Option<Wire>,
}

/// Where a tab dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing of the write is kept.
    Before(u64),
    /// All of it is kept, and nobody is told.
    After(u64),
}

/// The default number of steps.
pub const STEPS: u32 = 160;

impl Plan {
    /// A plan with all faults.
    #[must_use]
    pub fn new(seed: u64, steps: u32) -> Self {
        Self { seed, steps, without: BTreeSet::new(), crash: None, wire: None }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--seed {} --steps {}", self.seed, self.steps)?;
        for (position, fault) in self.without.iter().enumerate() {
            write!(f, "{}{fault}", if position == 0 { " --without " } else { "," })?;
        }
        if let Some(wire) = self.wire {
            write!(f, " --wire {wire}")?;
        }
        match self.crash {
            None => Ok(()),
            Some(Crash::Before(write)) => write!(f, " --crash-before {write}"),
            Some(Crash::After(write)) => write!(f, " --crash-after {write}"),
        }
    }
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }

        impl fmt::Display for Fault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }

        impl FromStr for Fault {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(format!("no fault is called {text}; there are: {}", [$($text),*].join(", "))),
                }
            }
        }
    };
}

faults! {
    /// A write to disk aborts.
    Abort = "abort",
    /// The disk has no room.
    Quota = "quota",
    /// The disk takes its time.
    SlowDisk = "slow-disk",
    /// The journal can't be opened.
    Load = "load",
    /// A tab is closed.
    Close = "close",
    /// A tab is gone at once.
    Crash = "crash",
    /// A whole browser is gone at once.
    Kill = "kill",
    /// A tab is frozen.
    Freeze = "freeze",
    /// A request does not reach the server.
    DropRequest = "drop-request",
    /// An answer does not reach the client.
    DropAnswer = "drop-answer",
    /// A request arrives twice.
    Duplicate = "duplicate",
    /// A request or an answer takes longer than its sender waits.
    Delay = "delay",
    /// The network goes away and comes back.
    Offline = "offline",
    /// Pokes are lost, doubled and late; channels die.
    Poke = "poke",
    /// The server restarts.
    Restart = "restart",
    /// The server answers 500, before or after it has acted.
    Error = "error",
    /// The server answers 503 and when to come back.
    Busy = "busy",
    /// The server drops the head of its log.
    Trim = "trim",
    /// The server refuses a mutation for good.
    Refuse = "refuse",
    /// The app's `persist` fails.
    Persist = "persist",
    /// A client's clock jumps.
    Clock = "clock",
    /// The app holds and resumes its queue.
    Pause = "pause",
    /// The app discards and retries.
    Discard = "discard",
    /// Tabs that register only some of the collections.
    Partial = "partial",
    /// The app's server gives rows another key.
    Rekey = "rekey",
    /// A release comes out: tabs that open later have a newer version, and migrate what is queued.
    Migrate = "migrate",
    /// The app prunes its history.
    Prune = "prune",
    /// Transactions with a strategy or a function other than their collection's.
    Mix = "mix",
    /// `awaitSync` rejects, or never answers.
    Await = "await",
    /// A disk is gone for a while.
    Storage = "storage",
    /// The queue takes few transactions.
    Full = "full",
    /// A live connection breaks at any frame.
    Cut = "cut",
    /// What is broadcast does not reach everybody.
    Gap = "gap",
    /// What is broadcast and what is answered overtake each other.
    Reorder = "reorder",
    /// The server answers an error under the status of success.
    Wrong = "wrong",
    /// A connection answers pings and nothing else.
    Hang = "hang",
    /// The server acknowledges and does not store.
    Forget = "forget",
    /// The server is wiped.
    Wipe = "wipe",
    /// Credentials expire, until the app gives others.
    Token = "token",
    /// The server takes few events at once.
    Oversize = "oversize",
}

impl Fault {
    /// Whether it came after the first plans were noted. Those draw from dice of their own, so that a plan
    /// without them runs as it did then.
    #[must_use]
    pub fn is_later(self) -> bool {
        (Self::Rekey..=Self::Full).contains(&self)
    }

    /// Whether it happens to a server that keeps a log; those have dice of their own, too.
    #[must_use]
    pub fn is_of_logs(self) -> bool {
        self >= Self::Cut
    }
}
