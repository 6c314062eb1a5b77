//! Multiplies vectors by a matrix, in loops that the compiler turns into vector instructions.

/// A matrix, packed for the order in which it is read: blocks of `W` outputs, and in each the weights of all inputs.
pub(in crate::signal) struct Matrix<const W: usize> {
    blocks: Vec<Block<W>>,
}

struct Block<const W: usize> {
    bias: [f32; W],
    /// The weights of the block's outputs, input by input.
    weights: Vec<[f32; W]>,
}

impl<const W: usize> Matrix<W> {
    /// Packs `weight(output, input)` and `bias(output)`. Outputs are filled up to whole blocks with zeros.
    pub(in crate::signal) fn pack(
        outputs: usize,
        inputs: usize,
        weight: impl Fn(usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Self {
        let of = |output: usize, value: &dyn Fn(usize) -> f32| {
            if output < outputs { value(output) } else { 0.0 }
        };
        let block = |first: usize| Block {
            bias: std::array::from_fn(|lane| of(first + lane, &bias)),
            weights: (0..inputs)
                .map(|input| std::array::from_fn(|lane| of(first + lane, &|output| weight(output, input))))
                .collect(),
        };
        Self { blocks: (0..outputs).step_by(W).map(block).collect() }
    }

    /// Multiplies `N` vectors at a time: `inputs` and `out` have a row for each input and output, with a column for each
    /// vector. The inputs before `skipped` are left out, as if they were zero, and so are those behind the given ones.
    pub(in crate::signal) fn multiply<const N: usize>(
        &self,
        inputs: &[[f32; N]],
        skipped: usize,
        out: &mut [[f32; N]],
    ) {
        for (block, rows) in self.blocks.iter().zip(out.chunks_mut(W)) {
            let mut sums = [block.bias; N];
            for (weights, row) in block.weights.iter().skip(skipped).zip(inputs) {
                for (sum, input) in sums.iter_mut().zip(row) {
                    for (lane, weight) in sum.iter_mut().zip(weights) {
                        *lane += weight * input;
                    }
                }
            }
            for (lane, row) in rows.iter_mut().enumerate() {
                for (value, sum) in row.iter_mut().zip(&sums) {
                    *value = sum.get(lane).copied().unwrap_or_default();
                }
            }
        }
    }
}

/// Replaces what is below zero by zero.
pub(in crate::signal) fn rectify<const N: usize>(rows: &mut [[f32; N]]) {
    for row in rows {
        for value in row {
            *value = value.max(0.0);
        }
    }
}

/// 1 / (1 + e^-x), off by less than 1e-6.
pub(in crate::signal) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exponential(-x))
}

/// The hyperbolic tangent, off by less than 1e-6.
pub(in crate::signal) fn tanh(x: f32) -> f32 {
    2.0 / (1.0 + exponential(-2.0 * x)) - 1.0
}

/// e^x for -80 to 80; beyond, that of the nearer end. No branch and no call, so that loops of it are vectorised.
fn exponential(x: f32) -> f32 {
    /// Adding it to a small number leaves its integer in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    let power = x.clamp(-80.0, 80.0) * std::f32::consts::LOG2_E;
    let shifted = power + SHIFT;
    let rest = (power - (shifted - SHIFT)) * std::f32::consts::LN_2;
    // Taylor's series: the rest is below 0.35, so that the first term left out is below 3e-7.
    let series = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5 + rest * (1.0 / 6.0 + rest * (1.0 / 24.0 + rest * (1.0 / 120.0 + rest / 720.0)))));
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127) << 23;
    series * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_matrix_multiplies_as_one_written_out() {
        let weight = |output: usize, input: usize| (output * 7 + input * 3) as f32 % 5.0 - 2.0;
        let matrix = Matrix::<8>::pack(11, 5, weight, |output| output as f32);
        let inputs: Vec<[f32; 2]> = (0..5).map(|input| [input as f32, 1.0 - input as f32]).collect();
        for skipped in 0..5 {
            let mut out = vec![[9.0; 2]; 11];
            matrix.multiply(&inputs[skipped..], skipped, &mut out);
            for (output, row) in out.iter().enumerate() {
                for (column, value) in row.iter().enumerate() {
                    let terms = (skipped..5).map(|input| weight(output, input) * inputs[input][column]);
                    assert_eq!(*value, output as f32 + terms.sum::<f32>(), "{output} {column} {skipped}");
                }
            }
        }
    }

    #[test]
    fn both_curves_are_right_to_a_millionth() {
        for step in -30_000..=30_000_i16 {
            let x = f32::from(step) / 300.0;
            let exact = f64::from(x);
            assert!((f64::from(sigmoid(x)) - 1.0 / (1.0 + (-exact).exp())).abs() < 1e-6, "{x}");
            assert!((f64::from(tanh(x)) - exact.tanh()).abs() < 1e-6, "{x}");
        }
        assert_eq!((sigmoid(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
    }
}
