//! What several rows begin with, computed once.
//!
//! Rows are sorted into a tree by their tokens: a system prompt that all share, below it the pictures, below each its questions, below
//! each the answers. A node's tokens run once, on top of the keys and values of its parents, in batches of nodes.
//!
//! Unusual here:
//! - subtrees that are small, such as the answers to a question, run in one row, each branch behind what it grows from; which tokens see
//!   each other is the attention's affair ([`AttentionInput::trees`]);
//! - tokens are symbols that the caller chooses: ids for text, and for a place of a picture a number of that picture. What is equal up
//!   to a place must have the same hidden states there;
//! - the tree is walked depth first, a batch of nodes at a time, so that the keys and values of one path of batches exist at a time;
//! - a beginning that is too short to be worth a pass of its own stays with the rows.

use std::collections::HashMap;
use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::error::ModelError;
use crate::language::{AttentionInput, CacheSpan, KvCache, LanguageModel};

/// Tokens that sharing must save for a node of its own: below, the copies of keys and values cost as much.
const MIN_SAVED: usize = 4;

/// Tokens of subtrees that share a row: enough that rows are alike in length, few enough that attention among all of them costs little.
const TREE_TOKENS: usize = 128;

/// Of the rows of a pass, those up to which nodes of other lengths are padded to fill it.
const PADDED_BELOW: usize = 8;

/// Nodes from the root to a leaf. Each level holds the keys and values of a batch.
const MAX_DEPTH: usize = 6;

/// A run of tokens that all rows below have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixNode {
    /// One of the rows, in whose symbols the tokens are.
    pub row: usize,
    /// The first token, as a place in the row: what is before is the parents'.
    pub start: usize,
    /// Behind the last one.
    pub end: usize,
    children: Vec<usize>,
    /// Which of the sorted rows begin so.
    below: Range<usize>,
    /// How many of them, the first ones, end here.
    ends: usize,
}

impl PrefixNode {
    fn tokens(&self) -> usize {
        self.end - self.start
    }

    fn part(&self) -> PromptPart {
        PromptPart { row: self.row, start: self.start, end: self.end }
    }
}

/// Rows by what they begin with.
#[derive(Debug, Clone)]
pub struct PrefixTree {
    nodes: Vec<PrefixNode>,
    roots: Vec<usize>,
    /// Rows in the order of their symbols.
    sorted: Vec<usize>,
}

impl PrefixTree {
    /// The tree of rows. An empty row is in no node.
    pub fn new<R: AsRef<[u64]>>(rows: &[R]) -> Self {
        Self::with_depth(rows, MAX_DEPTH)
    }

    /// Rows that share nothing unless they are the same.
    pub fn flat<R: AsRef<[u64]>>(rows: &[R]) -> Self {
        Self::with_depth(rows, 1)
    }

    fn with_depth<R: AsRef<[u64]>>(rows: &[R], depth: usize) -> Self {
        let symbols = |row: usize| rows.get(row).map_or(&[][..], AsRef::as_ref);
        let mut sorted: Vec<usize> = (0..rows.len()).filter(|row| !symbols(*row).is_empty()).collect();
        sorted.sort_by(|a, b| symbols(*a).cmp(symbols(*b)).then(a.cmp(b)));
        let mut growth = Growth { symbols: sorted.iter().map(|row| symbols(*row)).collect(), nodes: Vec::new() };
        let all = 0..sorted.len();
        let roots = growth.groups(all, 0).into_iter().flat_map(|group| growth.grow(group, 0, depth)).collect();
        let mut nodes = growth.nodes;
        nodes.iter_mut().for_each(|node| node.row = sorted[node.below.start]);
        Self { nodes, roots, sorted }
    }

    /// The rows below a node: all that begin as it does.
    pub fn rows(&self, node: &PrefixNode) -> &[usize] {
        &self.sorted[node.below.clone()]
    }

    /// The rows that end with a node.
    pub fn ending(&self, node: &PrefixNode) -> &[usize] {
        &self.sorted[node.below.start..node.below.start + node.ends]
    }

    /// Tokens that are run for all rows together.
    pub fn tokens(&self) -> usize {
        self.nodes.iter().map(|node| node.end - node.start).sum()
    }

    /// What is below each node.
    fn subtrees(&self) -> Vec<Subtree> {
        let mut subtrees: Vec<Subtree> = Vec::with_capacity(self.nodes.len());
        // Children are made before their parents.
        for node in &self.nodes {
            let mut below = Subtree { tokens: node.tokens(), end: node.end };
            for child in &node.children {
                let child = subtrees[*child];
                below = Subtree { tokens: below.tokens + child.tokens, end: below.end.max(child.end) };
            }
            subtrees.push(below);
        }
        subtrees
    }

    /// A node and all below it, each behind what it grows from.
    fn flatten(&self, node: usize, into: &mut Vec<usize>) {
        into.push(node);
        self.nodes[node].children.iter().for_each(|child| self.flatten(*child, into));
    }

    /// The most nodes on a way from a root to a leaf.
    pub fn depth(&self) -> usize {
        fn below(tree: &PrefixTree, nodes: &[usize]) -> usize {
            nodes.iter().map(|node| 1 + below(tree, &tree.nodes[*node].children)).max().unwrap_or(0)
        }
        below(self, &self.roots)
    }
}

/// A tree that grows, on sorted rows.
struct Growth<'a> {
    symbols: Vec<&'a [u64]>,
    nodes: Vec<PrefixNode>,
}

impl Growth<'_> {
    /// Sorted rows that are the same before `at`, parted by their symbols there; those that end there are left out.
    fn groups(&self, rows: Range<usize>, at: usize) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        for row in rows {
            let Some(symbol) = self.symbols[row].get(at) else { continue };
            match groups.last_mut() {
                Some(group) if self.symbols[group.start].get(at) == Some(symbol) => group.end = row + 1,
                _ => groups.push(row..row + 1),
            }
        }
        groups
    }

    /// The nodes of sorted rows that are the same before `start` and at it; their tokens are those from `start` on.
    fn grow(&mut self, rows: Range<usize>, start: usize, depth: usize) -> Vec<usize> {
        let (first, last) = (self.symbols[rows.start], self.symbols[rows.end - 1]);
        // What the first and the last of sorted rows share, all do.
        let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let ends = rows.clone().take_while(|row| self.symbols[*row].len() == common).count();
        let groups = self.groups(rows.clone(), common);
        if groups.is_empty() {
            return vec![self.add(rows, start..common, ends, Vec::new())];
        }
        let branches = groups.len() + usize::from(ends > 0);
        let saved = (branches - 1) * (common - start);
        if depth > 1 && saved >= MIN_SAVED {
            let children = groups.into_iter().flat_map(|group| self.grow(group, common, depth - 1)).collect();
            return vec![self.add(rows, start..common, ends, children)];
        }
        let mut nodes = Vec::new();
        if ends > 0 {
            nodes.push(self.add(rows.start..rows.start + ends, start..common, ends, Vec::new()));
        }
        for group in groups {
            nodes.extend(self.grow(group, start, depth));
        }
        nodes
    }

    fn add(&mut self, below: Range<usize>, tokens: Range<usize>, ends: usize, children: Vec<usize>) -> usize {
        self.nodes.push(PrefixNode { row: 0, start: tokens.start, end: tokens.end, children, below, ends });
        self.nodes.len() - 1
    }
}

/// Tokens of one row: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptPart {
    /// The row.
    pub row: usize,
    /// The first token.
    pub start: usize,
    /// Behind the last one.
    pub end: usize,
}

/// The most that one pass runs.
#[derive(Debug, Clone, Copy)]
pub struct PassLimits {
    /// Rows.
    pub rows: usize,
    /// Tokens, those before that are held as keys and values included: rows times the longest.
    pub tokens: usize,
    /// Whether rows that end keep their keys and values for [`PrefixPass::cache`], each node in a row of its own; else they are there
    /// where other rows go on.
    pub keep: bool,
}

/// Where a node is in a pass.
#[derive(Debug, Clone, Copy)]
pub struct PassNode<'a> {
    /// The node.
    pub node: &'a PrefixNode,
    /// The row of the batch.
    pub row: usize,
    /// The place of its first token in that row.
    pub first: usize,
}

/// A batch of nodes whose tokens have been run.
#[derive(Debug)]
pub struct PrefixPass<'a> {
    /// The nodes; several may share a row.
    pub nodes: &'a [PassNode<'a>],
    /// `[rows, tokens, hidden]`, after the final norm; shorter rows are padded on the right.
    pub hidden: Tensor<3>,
    /// Keys and values of the rows and all that is before them.
    pub cache: Option<&'a KvCache>,
    /// Where each row's are.
    pub spans: &'a [CacheSpan],
}

/// What [`LanguageModel::walk`] asks and tells.
pub trait PrefixWork {
    /// What can go wrong.
    type Error: From<ModelError>;

    /// Embeddings of parts of rows, shorter ones padded on the right with anything finite.
    ///
    /// # Shapes
    /// - returns `[parts, tokens, hidden]`
    ///
    /// # Errors
    /// Whatever keeps them from being made.
    fn embed(&mut self, parts: &[PromptPart], tokens: usize) -> Result<Tensor<3>, Self::Error>;

    /// Reads what a pass gave.
    ///
    /// # Errors
    /// Whatever ends the walk.
    fn read(&mut self, tree: &PrefixTree, pass: PrefixPass<'_>) -> Result<(), Self::Error>;
}

/// A node and its parents' keys and values.
#[derive(Clone)]
struct Next {
    node: usize,
    before: CacheSpan,
}

/// A row of a pass.
struct PassRow {
    /// What is before it.
    before: CacheSpan,
    /// Its nodes from left to right, each behind what it grows from: one, or subtrees that grow from one node.
    nodes: Vec<usize>,
    tokens: usize,
    /// Whether its only node's children run later.
    goes_on: bool,
    /// Whether a layer's window hides tokens from others: then no row of the batch is a tree, which has no window.
    windowed: bool,
}

/// A node and all below it.
#[derive(Clone, Copy)]
struct Subtree {
    tokens: usize,
    /// Behind the last position.
    end: usize,
}

/// A walk over a tree.
struct Walk<'a> {
    model: &'a LanguageModel,
    tree: &'a PrefixTree,
    limits: PassLimits,
    max_positions: usize,
    /// Of each node, the subtree that it is the root of.
    subtrees: Vec<Subtree>,
    /// Subtrees end at this position at most, to run in one row.
    tree_positions: usize,
}

impl LanguageModel {
    /// Runs every node of a tree once, parents before children. Call it on a model without autodiff.
    ///
    /// # Errors
    /// [`ModelError::TooLong`] for a row beyond `max_position_embeddings`, and what `work` fails with.
    pub fn walk<W: PrefixWork>(&self, tree: &PrefixTree, limits: PassLimits, work: &mut W) -> Result<(), W::Error> {
        let config = self.config();
        let max_positions = config.max_position_embeddings();
        if let Some(tokens) = tree.nodes.iter().map(|node| node.end).max().filter(|tokens| *tokens > max_positions) {
            return Err(ModelError::TooLong { what: "max_position_embeddings", tokens, max: max_positions }.into());
        }
        let windows = (0..config.layer_shape().layers).filter_map(|layer| config.layer_window(layer));
        let tree_positions = if limits.keep { 0 } else { windows.min().unwrap_or(max_positions) };
        let subtrees = tree.subtrees();
        let walk = Walk { model: self, tree, limits, max_positions, subtrees, tree_positions };
        let roots = tree.roots.iter().map(|&node| Next { node, before: CacheSpan { row: 0, places: 0..0 } }).collect();
        walk.descend(roots, None, work)
    }
}

impl Walk<'_> {
    fn descend<W: PrefixWork>(
        &self,
        nodes: Vec<Next>,
        parents: Option<&KvCache>,
        work: &mut W,
    ) -> Result<(), W::Error> {
        let mut rows = self.rows(nodes);
        // Alike in length, so that there is little padding behind them (before them it costs a copy, not a product); those with children
        // together, because the others need no cache.
        rows.sort_by_key(|row| {
            (!row.goes_on, row.windowed, row.tokens, row.before.places.len(), row.nodes.first().copied())
        });
        let mut rest = &rows[..];
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(self.batch_of(rest));
            rest = others;
            let before = batch.iter().map(|row| row.before.places.len()).max().unwrap_or(0);
            let tokens = batch.iter().map(|row| row.tokens).max().unwrap_or(0);
            let embeds = self.embed(batch, tokens, work)?;
            let device = embeds.device();
            let mut cache = match parents {
                Some(cache) => {
                    let spans: Vec<CacheSpan> = batch.iter().map(|row| row.before.clone()).collect();
                    Some(cache.clone().rearranged(&spans, batch.len(), 0, before + tokens))
                }
                None if self.limits.keep || batch.iter().any(|row| row.goes_on) => {
                    Some(self.model.new_cache(batch.len(), tokens, &device))
                }
                None => None,
            };
            let mut input = match &cache {
                Some(cache) => cache.input(tokens, self.max_positions, &device),
                None => AttentionInput::contiguous(),
            };
            if batch.iter().any(|row| row.nodes.len() > 1) {
                let trees = self.trees(batch, before, tokens, &device);
                input = AttentionInput { padding: input.padding, ..trees };
            }
            let hidden = self.model.forward(embeds, &input, cache.as_mut())?;
            let place = |(row, node, first)| PassNode { node: &self.tree.nodes[node], row, first };
            let places: Vec<PassNode<'_>> = self.each(batch).map(place).collect();
            let span = |(number, row): (usize, &PassRow)| CacheSpan {
                row: number,
                places: before - row.before.places.len()..before + row.tokens,
            };
            let spans: Vec<CacheSpan> = batch.iter().enumerate().map(span).collect();
            work.read(self.tree, PrefixPass { nodes: &places, hidden, cache: cache.as_ref(), spans: &spans })?;
            let going_on = places.iter().filter(|place| batch[place.row].goes_on);
            let children = going_on.flat_map(|place| {
                let before = &spans[place.row];
                place.node.children.iter().map(|&node| Next { node, before: before.clone() })
            });
            let children: Vec<Next> = children.collect();
            if !children.is_empty() {
                self.descend(children, cache.as_ref(), work)?;
            }
        }
        Ok(())
    }

    /// The rows in which nodes run: subtrees that are small and grow from one node share a row, so that little is padded and no keys are
    /// copied for their nodes.
    fn rows(&self, nodes: Vec<Next>) -> Vec<PassRow> {
        let mut rows: Vec<PassRow> = Vec::new();
        let mut open: HashMap<(usize, usize), usize> = HashMap::new();
        for Next { node, before } in nodes {
            let Subtree { tokens, end } = self.subtrees[node];
            if tokens > TREE_TOKENS || end > self.tree_positions {
                let own = &self.tree.nodes[node];
                let (goes_on, windowed) = (!own.children.is_empty(), own.end > self.tree_positions);
                rows.push(PassRow { before, nodes: vec![node], tokens: own.tokens(), goes_on, windowed });
                continue;
            }
            let key = (before.row, before.places.end);
            let place = open.get(&key).copied().filter(|row| rows[*row].tokens + tokens <= TREE_TOKENS);
            let row = place.unwrap_or_else(|| {
                rows.push(PassRow { before, nodes: Vec::new(), tokens: 0, goes_on: false, windowed: false });
                open.insert(key, rows.len() - 1);
                rows.len() - 1
            });
            self.tree.flatten(node, &mut rows[row].nodes);
            rows[row].tokens += tokens;
        }
        rows
    }

    /// The nodes of rows: which row, which node, where its first token is.
    fn each<'r>(&self, rows: &'r [PassRow]) -> impl Iterator<Item = (usize, usize, usize)> + use<'_, 'r> {
        rows.iter().enumerate().flat_map(move |(number, row)| {
            let mut next = 0;
            row.nodes.iter().map(move |&node| {
                let first = next;
                next += self.tree.nodes[node].tokens();
                (number, node, first)
            })
        })
    }

    /// Embeddings of rows of nodes.
    fn embed<W: PrefixWork>(&self, rows: &[PassRow], tokens: usize, work: &mut W) -> Result<Tensor<3>, W::Error> {
        let parts: Vec<PromptPart> = self.each(rows).map(|(_, node, _)| self.tree.nodes[node].part()).collect();
        if parts.len() == rows.len() {
            return work.embed(&parts, tokens);
        }
        let longest = parts.iter().map(|part| part.end - part.start).max().unwrap_or(0);
        let embeds = work.embed(&parts, longest)?;
        let [count, _, hidden] = embeds.dims();
        // Padding is the first token of all: finite.
        let mut source = vec![0i64; rows.len() * tokens];
        for ((row, node, first), number) in self.each(rows).zip(0..) {
            let target = source[row * tokens + first..].iter_mut().take(self.tree.nodes[node].tokens());
            target.zip(number * longest..).for_each(|(place, from)| *place = from as i64);
        }
        let source = ints(source, [rows.len() * tokens], &embeds.device());
        Ok(embeds.reshape([count * longest, hidden]).select(0, source).reshape([rows.len(), tokens, hidden]))
    }

    /// Which tokens of rows see each other, and their positions.
    fn trees(&self, rows: &[PassRow], before: usize, tokens: usize, device: &Device) -> AttentionInput {
        let width = before + tokens;
        // What is before is seen by all; padding stands behind all who are read.
        let mut until = vec![width as i64; rows.len() * width];
        let mut positions = vec![0i64; rows.len() * tokens];
        for (row, node, first) in self.each(rows) {
            let PrefixNode { start, end, .. } = self.tree.nodes[node];
            let seen_until = (before + first + self.subtrees[node].tokens) as i64;
            until[row * width + before + first..][..end - start].fill(seen_until);
            let positions = &mut positions[row * tokens + first..][..end - start];
            positions.iter_mut().zip(start..).for_each(|(position, at)| *position = at as i64);
        }
        let (until, positions) =
            (ints(until, [rows.len(), width], device), ints(positions, [rows.len(), tokens], device));
        AttentionInput::trees(until, positions)
    }

    /// How many of the rows, from the first on, run together; at least one. With their padding they are no longer than the longest row.
    fn batch_of(&self, rows: &[PassRow]) -> usize {
        let PassLimits { rows: most_rows, tokens: most_tokens, .. } = self.limits;
        let longest = self.tree.nodes.iter().map(|node| node.end).max().unwrap_or(0).max(TREE_TOKENS);
        let (mut before, mut own) = (0, 0);
        let mut count = 0;
        for row in rows.iter().take(most_rows.max(1)) {
            // A batch that is large enough is not padded for the sake of longer ones.
            if count >= most_rows.div_ceil(PADDED_BELOW) && row.tokens > own {
                break;
            }
            before = before.max(row.before.places.len());
            own = own.max(row.tokens);
            let fits = before + own <= longest && (count + 1) * (before + own) <= most_tokens;
            if count > 0 && !(fits && row.goes_on == rows[0].goes_on && row.windowed == rows[0].windowed) {
                break;
            }
            count += 1;
        }
        count
    }
}

fn ints<const D: usize>(values: Vec<i64>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(rows: &[&[u64]]) -> PrefixTree {
        PrefixTree::new(rows)
    }

    /// The tokens of each row, put together again from the root down.
    fn read(tree: &PrefixTree, rows: &[&[u64]]) -> Vec<Vec<u64>> {
        let mut found = vec![Vec::new(); rows.len()];
        let mut open: Vec<(usize, Vec<u64>)> = tree.roots.iter().map(|root| (*root, Vec::new())).collect();
        while let Some((node, mut tokens)) = open.pop() {
            let node = &tree.nodes[node];
            assert_eq!(tokens.len(), node.start);
            tokens.extend(&rows[node.row][node.start..node.end]);
            tree.ending(node).iter().for_each(|row| found[*row] = tokens.clone());
            open.extend(node.children.iter().map(|child| (*child, tokens.clone())));
        }
        found
    }

    #[test]
    fn every_row_is_found_again() {
        let rows: [&[u64]; 7] = [
            &[1, 2, 3, 4, 5, 6, 7],
            &[1, 2, 3, 4, 5, 6, 8, 9],
            &[1, 2, 3, 4, 5, 6],
            &[1, 2, 3, 4, 9],
            &[7],
            &[1, 2, 3, 4, 5, 6, 7],
            &[1, 2, 3, 4, 9, 9],
        ];
        for tree in [tree(&rows), PrefixTree::flat(&rows)] {
            assert_eq!(read(&tree, &rows), rows.map(<[u64]>::to_vec));
        }
        // 4 shared; 2 of three rows; their ends 1 and 2; 1 and 2 of those with 9; 7 alone.
        assert_eq!((tree(&rows).tokens(), tree(&rows).depth()), (4 + 2 + 1 + 2 + 1 + 2 + 1, 3));
        // The same row is one.
        assert_eq!((PrefixTree::flat(&rows).tokens(), PrefixTree::flat(&rows).depth()), (7 + 8 + 6 + 5 + 1 + 6, 1));
    }

    #[test]
    fn what_is_hardly_shared_stays_with_the_rows() {
        let rows: [&[u64]; 2] = [&[1, 2, 3, 4], &[1, 2, 3, 5]];
        assert_eq!((tree(&rows).tokens(), tree(&rows).depth()), (8, 1));
        let rows: [&[u64]; 2] = [&[1, 2, 3, 4, 4], &[1, 2, 3, 4, 5]];
        assert_eq!((tree(&rows).tokens(), tree(&rows).depth()), (6, 2));
        let none: [&[u64]; 2] = [&[], &[]];
        assert_eq!((tree(&none).tokens(), tree(&none).depth()), (0, 0));
    }

    #[test]
    fn a_chain_of_rows_is_no_deeper_than_allowed() {
        let rows: Vec<Vec<u64>> = (1..40).map(|turns| (0..turns * 10).collect()).collect();
        let tree = PrefixTree::new(&rows);
        assert_eq!(tree.depth(), MAX_DEPTH);
        let slices: Vec<&[u64]> = rows.iter().map(Vec::as_slice).collect();
        assert_eq!(read(&tree, &slices), rows);
    }
}
