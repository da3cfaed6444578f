//! Similarities of exemplars.

/// A symmetric similarity matrix that grows by rows; shape `(n, n)`, only the lower triangle is stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Similarities {
    rows: Vec<Vec<f32>>,
}

impl Similarities {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Appends item `n` with its similarities to items `0..n`.
    pub(crate) fn push(&mut self, row: Vec<f32>) {
        debug_assert_eq!(row.len(), self.rows.len());
        self.rows.push(row);
    }

    pub(crate) fn get(&self, a: usize, b: usize) -> f32 {
        if a > b { self.rows[a][b] } else { self.rows[b][a] }
    }
}
