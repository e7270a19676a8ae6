//! Transactions that contradict the order of their times on one key.

use super::history::Transaction;

/// Which part of a key's version order a transaction touched.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    pub by: usize,
    pub started: u64,
    pub settled: Option<u64>,
    /// The number of versions before the earliest thing that it read or wrote.
    pub low: usize,
    /// The number of versions up to the latest.
    pub high: usize,
}

impl Touch {
    /// Of nothing yet.
    pub fn new(by: usize, transaction: &Transaction) -> Self {
        Self { by, started: transaction.started, settled: transaction.settled(), low: usize::MAX, high: 0 }
    }
}

/// Pairs of transactions: the first had ended when the second began, and had touched what the second came before.
/// Of all such firsts, the one that had touched most.
pub fn contradictions(mut touches: Vec<Touch>) -> Vec<(usize, usize)> {
    let mut ends: Vec<(u64, usize, usize)> =
        touches.iter().filter_map(|touch| Some((touch.settled?, touch.high, touch.by))).collect();
    ends.sort_unstable();
    touches.sort_unstable_by_key(|touch| (touch.started, touch.by));
    let mut ends = ends.into_iter().peekable();
    let mut highest: Option<(usize, usize)> = None;
    let mut found = Vec::new();
    for touch in touches {
        while let Some((_, high, by)) = ends.next_if(|(ended, ..)| *ended < touch.started) {
            if highest.is_none_or(|(most, _)| high > most) {
                highest = Some((high, by));
            }
        }
        if let Some((high, by)) = highest
            && touch.low < high
        {
            found.push((by, touch.by));
        }
    }
    found
}

/// A stretch of time; without an end it precedes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub started: u64,
    pub settled: Option<u64>,
}

/// Pairs of which the first had ended when the second began, without those that follow from others (`a, c` where `a, b`
/// and `b, c` are there). There are about as many per stretch as run at one time.
pub fn precedence(stretches: &[Stretch]) -> Vec<(usize, usize)> {
    let mut starts: Vec<usize> = (0..stretches.len()).collect();
    starts.sort_unstable_by_key(|index| (stretches[*index].started, *index));
    let mut ends: Vec<(u64, usize)> =
        stretches.iter().enumerate().filter_map(|(index, stretch)| Some((stretch.settled?, index))).collect();
    ends.sort_unstable();
    let mut ends = ends.into_iter().peekable();
    let mut frontier: Vec<(u64, usize)> = Vec::new();
    let mut pairs = Vec::new();
    for index in starts {
        while let Some((ended, done)) = ends.next_if(|(ended, _)| *ended < stretches[index].started) {
            frontier.retain(|(before, _)| *before >= stretches[done].started);
            frontier.push((ended, done));
        }
        pairs.extend(frontier.iter().map(|(_, before)| (*before, index)));
    }
    pairs
}
