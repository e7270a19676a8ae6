//! Finds and names the cycles of a dependency graph.
//!
//! A class of cycles is a required dependency and a path back over the allowed ones. Classes are searched from the worst
//! to the mildest; the component in which one was found is left out afterwards, since whatever else goes wrong there may
//! only follow from it. In a sound history one pass of Tarjan's search ends the matter.

use std::collections::VecDeque;

use super::{
    anomaly::{Findings, Kind, Level},
    graph::{Cycle, Dependency, Edge, Graph, explain},
    history::Transaction,
};

const WW: u8 = Dependency::WriteWrite.bit();
const WR: u8 = Dependency::WriteRead.bit();
const RW: u8 = Dependency::ReadWrite.bit();
const PRW: u8 = Dependency::PredicateReadWrite.bit();
const RT: u8 = Dependency::RealTime.bit();

struct Class {
    kind: Kind,
    /// The edge that the cycle must have.
    required: u8,
    /// The rest of it.
    allowed: u8,
    /// No two anti-dependencies in a row.
    nonadjacent: bool,
    /// The weakest level that excludes it.
    level: Level,
}

const fn class(kind: Kind, required: u8, allowed: u8, level: Level) -> Class {
    Class { kind, required, allowed, nonadjacent: false, level }
}

/// Real-time edges are promised to serializable transactions only: they hold for one point in time per transaction.
const CLASSES: [Class; 12] = [
    class(Kind::G0, WW, WW, Level::ReadCommitted),
    class(Kind::G1c, WR, WW | WR, Level::ReadCommitted),
    class(Kind::GSingle, RW, WW | WR, Level::Snapshot),
    Class { nonadjacent: true, ..class(Kind::GNonadjacent, RW, WW | WR | RW, Level::Snapshot) },
    class(Kind::G2Item, RW, WW | WR | RW, Level::Serializable),
    class(Kind::GSinglePredicate, PRW, WW | WR, Level::Snapshot),
    class(Kind::G2, PRW, WW | WR | RW | PRW, Level::Serializable),
    class(Kind::G0RealTime, RT, WW | RT, Level::Serializable),
    class(Kind::G1cRealTime, WR, WW | WR | RT, Level::Serializable),
    class(Kind::GSingleRealTime, RW, WW | WR | RT, Level::Serializable),
    class(Kind::G2ItemRealTime, RW, WW | WR | RW | RT, Level::Serializable),
    class(Kind::G2RealTime, PRW, WW | WR | RW | PRW | RT, Level::Serializable),
];

/// Edges that the path searches for one class may look at.
const EDGES_VISITED_MAX: usize = 10_000_000;

/// Where every required edge lies on a cycle, as many are tried to find a short one.
const TRIES_MAX: usize = 200;

pub fn search(history: &[Transaction], graph: &Graph, level: Level, findings: &mut Findings) {
    let mut included = vec![true; graph.len()];
    let all = graph.components(u8::MAX, &included);
    if all.is_empty() {
        return;
    }
    included.fill(false);
    for node in all.into_iter().flatten() {
        included[node] = true;
    }
    let mut search = Search { graph, included, budget: EDGES_VISITED_MAX };
    if level >= Level::Snapshot {
        search.same_item_pairs(history, findings);
    }
    for class in CLASSES.iter().filter(|class| class.level <= level) {
        search.budget = EDGES_VISITED_MAX;
        for component in graph.components(class.allowed | class.required, &search.included) {
            match search.cycle(&component, class) {
                Some(cycle) => {
                    findings.report(shape(class.kind, &cycle), || explain(history, &cycle));
                    search.leave_out(&component);
                }
                None if search.budget == 0 => {
                    findings.report(Kind::Undecided, || {
                        format!(
                            "the search for {} in {} transactions was given up",
                            class.kind,
                            component.len()
                        )
                    });
                    break;
                }
                None => {}
            }
        }
    }
}

/// Names that depend on the cycle as a whole.
fn shape(kind: Kind, cycle: &Cycle) -> Kind {
    match (kind, cycle.as_slice()) {
        (Kind::G2Item, [(_, first), (_, second)])
            if first.dependency == Dependency::ReadWrite && second.dependency == Dependency::ReadWrite =>
        {
            Kind::WriteSkew
        }
        _ => kind,
    }
}

struct Search<'a> {
    graph: &'a Graph,
    included: Vec<bool>,
    budget: usize,
}

impl Search<'_> {
    fn leave_out(&mut self, nodes: &[usize]) {
        for node in nodes {
            self.included[*node] = false;
        }
    }

    /// Lost updates: A read what B replaced, and B is replaced by A, or read what A replaced.
    fn same_item_pairs(&mut self, history: &[Transaction], findings: &mut Findings) {
        for from in 0..self.graph.len() {
            if !self.included[from] {
                continue;
            }
            let pair = self
                .graph
                .from(from)
                .iter()
                .filter(|edge| edge.dependency == Dependency::ReadWrite)
                .find_map(|edge| {
                    let back = self.graph.from(edge.to).iter().find(|back| {
                        back.to == from
                            && back.item == edge.item
                            && matches!(back.dependency, Dependency::WriteWrite | Dependency::ReadWrite)
                    })?;
                    Some(vec![(from, *edge), (edge.to, *back)])
                });
            if let Some(cycle) = pair {
                findings.report(Kind::LostUpdate, || explain(history, &cycle));
                let nodes: Vec<usize> = cycle.iter().map(|(node, _)| *node).collect();
                self.leave_out(&nodes);
            }
        }
    }

    /// The shortest cycle of a class that was met in a component.
    fn cycle(&mut self, component: &[usize], class: &Class) -> Option<Cycle> {
        let part = Part::new(self.graph, component, class);
        // Every required edge lies on a cycle of such a class.
        let certain = class.required & class.allowed != 0 && !class.nonadjacent;
        let mut best: Option<Cycle> = None;
        let mut paths = Paths::new(component.len());
        for (tries, target) in part.targets().enumerate() {
            if let Some(cycle) = part.close(target, class, &mut paths, &mut self.budget)
                && best.as_ref().is_none_or(|best| cycle.len() < best.len())
            {
                best = Some(cycle);
            }
            let enough = best.as_ref().is_some_and(|best| best.len() == 2 || tries >= TRIES_MAX);
            if enough || self.budget == 0 || (certain && tries >= TRIES_MAX) {
                break;
            }
        }
        best
    }
}

fn is_anti(edge: &Edge) -> bool {
    edge.dependency.bit() & (RW | PRW) != 0
}

/// A component as a class sees it. Nodes are positions in the component.
struct Part<'a> {
    nodes: &'a [usize],
    allowed: Vec<Vec<(usize, Edge)>>,
    /// Required edges by their target, sorted by their origin.
    required: Vec<Vec<(usize, Edge)>>,
}

impl<'a> Part<'a> {
    fn new(graph: &Graph, nodes: &'a [usize], class: &Class) -> Self {
        let mut part =
            Self { nodes, allowed: vec![Vec::new(); nodes.len()], required: vec![Vec::new(); nodes.len()] };
        for (from, node) in nodes.iter().enumerate() {
            for edge in graph.from(*node) {
                let Ok(to) = nodes.binary_search(&edge.to) else { continue };
                if edge.dependency.bit() & class.allowed != 0 {
                    part.allowed[from].push((to, *edge));
                }
                if edge.dependency.bit() & class.required != 0 {
                    part.required[to].push((from, *edge));
                }
            }
        }
        part
    }

    fn targets(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|node| !self.required[*node].is_empty())
    }

    /// The shortest way from the target of required edges to the origin of one of them, breadth first. When
    /// anti-dependencies must not be adjacent, a node counts as two: reached by one, and not.
    fn close(&self, target: usize, class: &Class, paths: &mut Paths, budget: &mut usize) -> Option<Cycle> {
        let anti = |edge: &Edge| class.nonadjacent && is_anti(edge);
        paths.reset();
        let start = (target, class.nonadjacent);
        paths.reach(start, None);
        let mut queue = VecDeque::from([start]);
        while let Some(state) = queue.pop_front() {
            for (to, edge) in &self.allowed[state.0] {
                *budget = budget.checked_sub(1)?;
                let next = (*to, anti(edge));
                if (state.1 && next.1) || paths.reached(next) {
                    continue;
                }
                paths.reach(next, Some((state, *edge)));
                queue.push_back(next);
                let required = &self.required[target];
                if let Ok(found) = required.binary_search_by_key(to, |(from, _)| *from)
                    && !(next.1 && anti(&required[found].1))
                {
                    let (from, required) = &required[found];
                    let mut cycle = vec![(self.nodes[*from], *required)];
                    let path = paths.to(next).into_iter();
                    cycle.extend(path.map(|(node, edge)| (self.nodes[node], edge)));
                    return Some(cycle);
                }
            }
        }
        None
    }
}

/// A node, and whether an anti-dependency led to it.
type State = (usize, bool);

/// How a search came to each state.
struct Paths {
    came_from: Vec<[Option<Option<(State, Edge)>>; 2]>,
    touched: Vec<usize>,
}

impl Paths {
    fn new(nodes: usize) -> Self {
        Self { came_from: vec![[None, None]; nodes], touched: Vec::new() }
    }

    fn reset(&mut self) {
        for node in self.touched.drain(..) {
            self.came_from[node] = [None, None];
        }
    }

    fn reached(&self, (node, anti): State) -> bool {
        self.came_from[node][usize::from(anti)].is_some()
    }

    fn reach(&mut self, (node, anti): State, over: Option<(State, Edge)>) {
        self.came_from[node][usize::from(anti)] = Some(over);
        self.touched.push(node);
    }

    /// From the start of the search to a state.
    fn to(&self, mut state: State) -> Vec<(usize, Edge)> {
        let mut path = Vec::new();
        while let Some(Some((before, edge))) = self.came_from[state.0][usize::from(state.1)] {
            path.push((before.0, edge));
            state = before;
        }
        path.reverse();
        path
    }
}
