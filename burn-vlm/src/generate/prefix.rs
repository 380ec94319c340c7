//! What several rows begin with, computed once.
//!
//! Rows are sorted into a tree by their tokens: a system prompt that all share, below it the pictures, below each its questions, below
//! each the answers. A node's tokens run once, on top of the keys and values of its parents, in batches of nodes.
//!
//! Unusual here:
//! - tokens are symbols that the caller chooses: ids for text, and for a place of a picture a number of that picture. What is equal up
//!   to a place must have the same hidden states there;
//! - the tree is walked depth first, a batch of nodes at a time, so that the keys and values of one path of batches exist at a time;
//! - a beginning that is too short to be worth a pass of its own stays with the rows.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::error::ModelError;
use crate::language::{AttentionInput, CacheSpan, KvCache, LanguageModel};

/// Tokens that sharing must save for a node of its own: below, the copies of keys and values cost as much.
const MIN_SAVED: usize = 4;

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

/// The most that one pass runs. A single row runs whatever it needs.
#[derive(Debug, Clone, Copy)]
pub struct PassLimits {
    /// Rows.
    pub rows: usize,
    /// Tokens, those before that are held as keys and values included: rows times the longest.
    pub tokens: usize,
    /// Whether rows that end keep their keys and values for [`PrefixPass::cache`]; else they are there where other rows go on.
    pub keep: bool,
}

/// A batch of nodes whose tokens have been run.
#[derive(Debug)]
pub struct PrefixPass<'a> {
    /// The nodes, a row of the batch each.
    pub nodes: &'a [&'a PrefixNode],
    /// `[nodes, tokens, hidden]`, after the final norm; shorter nodes are padded on the right.
    pub hidden: Tensor<3>,
    /// Keys and values of the nodes and all that is before them.
    pub cache: Option<&'a KvCache>,
    /// Where each node's are.
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
struct Next {
    node: usize,
    before: CacheSpan,
}

impl LanguageModel {
    /// Runs every node of a tree once, parents before children. Call it on a model without autodiff.
    ///
    /// # Errors
    /// [`ModelError::TooLong`] for a row beyond `max_position_embeddings`, and what `work` fails with.
    pub fn walk<W: PrefixWork>(&self, tree: &PrefixTree, limits: PassLimits, work: &mut W) -> Result<(), W::Error> {
        let max = self.config().max_position_embeddings();
        if let Some(tokens) = tree.nodes.iter().map(|node| node.end).max().filter(|tokens| *tokens > max) {
            return Err(ModelError::TooLong { what: "max_position_embeddings", tokens, max }.into());
        }
        let roots = tree.roots.iter().map(|&node| Next { node, before: CacheSpan { row: 0, places: 0..0 } }).collect();
        self.descend(tree, (limits, max), roots, None, work)
    }

    fn descend<W: PrefixWork>(
        &self,
        tree: &PrefixTree,
        (limits, max): (PassLimits, usize),
        mut nodes: Vec<Next>,
        parents: Option<&KvCache>,
        work: &mut W,
    ) -> Result<(), W::Error> {
        // Alike in length, so that there is little padding behind them (before them it costs a copy, not a product); those with children
        // together, because the others need no cache.
        nodes.sort_by_key(|next| {
            let node = &tree.nodes[next.node];
            (node.children.is_empty(), node.end - node.start, node.start, next.node)
        });
        let mut rest = &nodes[..];
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(batch_of(tree, rest, limits));
            rest = others;
            let chosen: Vec<&PrefixNode> = batch.iter().map(|next| &tree.nodes[next.node]).collect();
            let before = chosen.iter().map(|node| node.start).max().unwrap_or(0);
            let tokens = chosen.iter().map(|node| node.end - node.start).max().unwrap_or(0);
            let parts: Vec<PromptPart> = chosen.iter().map(|node| part(node)).collect();
            let embeds = work.embed(&parts, tokens)?;
            let device = embeds.device();
            let mut cache = match parents {
                Some(cache) => {
                    let spans: Vec<CacheSpan> = batch.iter().map(|next| next.before.clone()).collect();
                    Some(cache.clone().rearranged(&spans, batch.len(), 0, before + tokens))
                }
                None if limits.keep || chosen.iter().any(|node| !node.children.is_empty()) => {
                    Some(self.new_cache(batch.len(), tokens, &device))
                }
                None => None,
            };
            let input = match &cache {
                Some(cache) => cache.input(tokens, max, &device),
                None => AttentionInput::contiguous(),
            };
            let hidden = self.forward(embeds, &input, cache.as_mut())?;
            let span = |(row, node): (usize, &&PrefixNode)| CacheSpan {
                row,
                places: before - node.start..before + node.end - node.start,
            };
            let spans: Vec<CacheSpan> = chosen.iter().enumerate().map(span).collect();
            work.read(tree, PrefixPass { nodes: &chosen, hidden, cache: cache.as_ref(), spans: &spans })?;
            let children = chosen.iter().zip(&spans);
            let children = children.flat_map(|(node, span)| node.children.iter().map(move |&child| (child, span)));
            let children: Vec<Next> = children.map(|(node, span)| Next { node, before: span.clone() }).collect();
            if !children.is_empty() {
                self.descend(tree, (limits, max), children, cache.as_ref(), work)?;
            }
        }
        Ok(())
    }
}

fn part(node: &PrefixNode) -> PromptPart {
    PromptPart { row: node.row, start: node.start, end: node.end }
}

/// How many of the nodes, from the first on, run together; at least one. With their padding they are no longer than the longest row.
fn batch_of(tree: &PrefixTree, nodes: &[Next], limits: PassLimits) -> usize {
    let longest = tree.nodes.iter().map(|node| node.end).max().unwrap_or(0);
    let inner = |next: &Next| !tree.nodes[next.node].children.is_empty();
    let (mut before, mut own) = (0, 0);
    let mut count = 0;
    for next in nodes.iter().take(limits.rows.max(1)) {
        let node = &tree.nodes[next.node];
        // A batch that is large enough is not padded for the sake of longer ones.
        if count >= limits.rows.div_ceil(PADDED_BELOW) && node.end - node.start > own {
            break;
        }
        before = before.max(node.start);
        own = own.max(node.end - node.start);
        let fits = before + own <= longest && (count + 1) * (before + own) <= limits.tokens;
        if count > 0 && !(fits && inner(next) == inner(&nodes[0])) {
            break;
        }
        count += 1;
    }
    count
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
