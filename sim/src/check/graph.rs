//! The direct serialization graph of Adya (1999): an edge from A to B says that A comes before B in every serial order
//! that explains the history. A history is serializable iff the graph has no cycle.

use super::history::Transaction;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// B replaced A's version.
    WriteWrite,
    /// B read A's version.
    WriteRead,
    /// B replaced the version that A read: an anti-dependency.
    ReadWrite,
    /// B changed the rows of a predicate that A had read.
    PredicateReadWrite,
    /// A ended before B began, and both used one key.
    RealTime,
}

impl Dependency {
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }

    pub fn symbol(self) -> &'static str {
        match self {
            Self::WriteWrite => "ww",
            Self::WriteRead => "wr",
            Self::ReadWrite => "rw",
            Self::PredicateReadWrite => "prw",
            Self::RealTime => "rt",
        }
    }
}

/// What the dependency is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    List(u64),
    Register(u64),
    Row { set: u64, key: u64 },
}

#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub to: usize,
    pub dependency: Dependency,
    pub item: Item,
    /// The version on the side of the origin; `None` is the state before the first one.
    pub from_version: Option<u64>,
    /// The version on the side of the target; `None` is a deleted row.
    pub to_version: Option<u64>,
}

pub struct Graph {
    edges: Vec<Vec<Edge>>,
}

impl Graph {
    pub fn new(nodes: usize) -> Self {
        Self { edges: vec![Vec::new(); nodes] }
    }

    pub fn len(&self) -> usize {
        self.edges.len()
    }

    pub fn from(&self, node: usize) -> &[Edge] {
        &self.edges[node]
    }

    /// A transaction does not depend on itself.
    pub fn add(&mut self, from: usize, edge: Edge) {
        if from != edge.to {
            self.edges[from].push(edge);
        }
    }

    /// Strongly connected components of two nodes or more, over edges in `mask` between nodes in `included`. Tarjan's
    /// search with its own stack: a chain of dependencies is as long as the history.
    pub fn components(&self, mask: u8, included: &[bool]) -> Vec<Vec<usize>> {
        let mut search = Tarjan {
            graph: self,
            mask,
            included,
            order: vec![UNSEEN; self.len()],
            low: vec![0; self.len()],
            on_stack: vec![false; self.len()],
            stack: Vec::new(),
            next: 0,
            components: Vec::new(),
        };
        for (root, included) in included.iter().enumerate() {
            if *included && search.order[root] == UNSEEN {
                search.visit(root);
            }
        }
        search.components
    }
}

const UNSEEN: usize = usize::MAX;

struct Tarjan<'a> {
    graph: &'a Graph,
    mask: u8,
    included: &'a [bool],
    /// In which the nodes were met.
    order: Vec<usize>,
    /// The earliest node on the stack that is reachable.
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    next: usize,
    components: Vec<Vec<usize>>,
}

impl Tarjan<'_> {
    fn visit(&mut self, root: usize) {
        self.enter(root);
        let mut path = vec![(root, 0)];
        while let Some((node, position)) = path.last_mut() {
            let node = *node;
            let Some(edge) = self.graph.edges[node].get(*position) else {
                path.pop();
                if let Some((parent, _)) = path.last() {
                    self.low[*parent] = self.low[*parent].min(self.low[node]);
                }
                self.leave(node);
                continue;
            };
            *position += 1;
            if edge.dependency.bit() & self.mask == 0 || !self.included[edge.to] {
                continue;
            }
            if self.order[edge.to] == UNSEEN {
                self.enter(edge.to);
                path.push((edge.to, 0));
            } else if self.on_stack[edge.to] {
                self.low[node] = self.low[node].min(self.order[edge.to]);
            }
        }
    }

    fn enter(&mut self, node: usize) {
        self.order[node] = self.next;
        self.low[node] = self.next;
        self.next += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
    }

    fn leave(&mut self, node: usize) {
        if self.low[node] != self.order[node] {
            return;
        }
        let start = self.stack.iter().rposition(|other| *other == node).expect("it was entered");
        let mut component = self.stack.split_off(start);
        for member in &component {
            self.on_stack[*member] = false;
        }
        if component.len() > 1 {
            component.sort_unstable();
            self.components.push(component);
        }
    }
}

/// A closed walk: each edge leads to the origin of the next one, the last to that of the first.
pub type Cycle = Vec<(usize, Edge)>;

pub fn explain(history: &[Transaction], cycle: &Cycle) -> String {
    let mut text = String::new();
    for (from, edge) in cycle {
        text.push_str(&format!("T{} -{}-> ", history[*from].id, edge.dependency.symbol()));
    }
    if let Some((first, _)) = cycle.first() {
        text.push_str(&format!("T{}", history[*first].id));
    }
    for (from, edge) in cycle.iter().take(STEPS_SHOWN_MAX) {
        text.push_str(&format!("\n    {}", history[*from]));
        text.push_str(&format!("\n        {}", reason(&history[*from], &history[edge.to], edge)));
    }
    if cycle.len() > STEPS_SHOWN_MAX {
        text.push_str(&format!("\n    and {} steps more", cycle.len() - STEPS_SHOWN_MAX));
    }
    text
}

const STEPS_SHOWN_MAX: usize = 16;

fn reason(from: &Transaction, to: &Transaction, edge: &Edge) -> String {
    let name = |version: Option<u64>| version.map_or("nothing".to_owned(), |version| version.to_string());
    let (before, after) = (name(edge.from_version), name(edge.to_version));
    let place = match edge.item {
        Item::List(key) => format!("list {key}"),
        Item::Register(key) => format!("register {key}"),
        Item::Row { set, key } => format!("row {key} of set {set}"),
    };
    let (from, to, ended) = (from.id, to.id, from.ended.unwrap_or_default());
    match edge.dependency {
        Dependency::WriteWrite => {
            format!("T{from} wrote {before} to {place}, and T{to} wrote {after} after it")
        }
        Dependency::WriteRead => format!("T{from} wrote {after} to {place}, and T{to} saw it"),
        Dependency::ReadWrite => format!("T{from} saw {before} in {place}, before T{to} wrote {after}"),
        Dependency::PredicateReadWrite => match edge.to_version {
            Some(_) => format!("T{from} scanned without {place}, which T{to} inserted"),
            None => format!("T{from} scanned with {place}, which T{to} deleted"),
        },
        Dependency::RealTime => format!("T{from} had ended at {ended} before T{to} began; both used {place}"),
    }
}
