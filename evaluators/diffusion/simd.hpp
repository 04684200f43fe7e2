#pragma once
// The arithmetic of the diffusion evaluator, once per instruction set.  All functions work on
// *tiles*: row-major matrices [rows][tile_lanes] of floats in which a column is one sample, so that
// every operation of the network is the same instruction on `tile_lanes` samples and no sum ever
// runs across lanes.  A sample's result therefore depends neither on its neighbours nor on the
// thread that computes it.
//
// The tables are constant; every function is pure (it touches only its arguments) and may be called
// from any thread.  Buffers are best aligned to 64 bytes (aligned.hpp) but need not be.

#include <cstddef>
#include <cstdint>

namespace paretod {

/// Samples in a tile: three vectors of AVX-512, six of AVX2, twelve of SSE.
inline constexpr std::size_t tile_lanes = 48;
/// Rows of a weight matrix that are stored together; outputs are padded to a multiple of it.
inline constexpr std::size_t row_block = 8;
/// Parameters in a block of the merge: one unit of work.
inline constexpr std::size_t merge_columns = 512;
/// Parameters of one source that lie together: a block is [merge_columns / merge_strip][sources]
/// [merge_strip], so that it is read from front to back (a strip of float16 is a cache line).
inline constexpr std::size_t merge_strip = 32;

inline constexpr std::size_t padded_rows(std::size_t rows) {
  return (rows + row_block - 1) / row_block * row_block;
}

/// A linear layer, packed: weights [padded_rows(outputs) / row_block][inputs][row_block], bias
/// [padded_rows(outputs)].
struct PackedLinear {
  const float* weights;
  const float* bias;
  std::size_t inputs;
  std::size_t outputs;
};

/// What happens to W x + b before it is stored.
enum class Epilogue {
  store,
  add,   ///< output += W x + b
  silu,  ///< z / (1 + exp(-z))
  tanh,
};

/// x0 = clip(signal x - noise v, -1, 1); x <- next_signal x0 + next_noise (x - signal x0) / noise
/// (DDIM with eta = 0, Song et al. 2021, equation 12, for a v-predicting network).
struct DdimCoefficients {
  float signal;       ///< sqrt(alpha_bar)
  float noise;        ///< sqrt(1 - alpha_bar)
  float next_signal;  ///< the same at the next, cleaner time; 1 and 0 after the last
  float next_noise;
};

struct SimdKernels {
  const char* name;

  /// output[padded_rows(outputs)] from input[inputs].  input and output must not overlap.
  void (*linear)(const PackedLinear& layer, const float* input, Epilogue epilogue, float* output);

  /// Layer normalisation over the rows (biased variance, epsilon 1e-5), scaled and shifted per row;
  /// adds the tile `addend` unless it is null.
  void (*normalize)(const float* input, std::size_t rows, const float* scale, const float* shift,
                    const float* addend, float* output);

  /// One DDIM update of x in place from the predicted v; false when any v is not finite.
  bool (*ddim_update)(float* x, const float* v, std::size_t rows, const DdimCoefficients& step);

  /// out[r * stride + c] = sum over all lanes of all tiles of row (row + r) times row c, for
  /// r < 4 and c from `row` (a multiple of 4) to `rows` (too): one strip of the matrix of raw
  /// second moments.  `features` is [tiles][rows][tile_lanes].
  void (*second_moments)(const float* features, std::size_t tiles, std::size_t rows,
                         std::size_t row, double* out, std::size_t stride);

  /// Merges one block of merge_columns parameters for several candidates:
  ///   out[p * stride + c] = S[r][c] + sum over k != r of A[p][k] (S[k][c] - S[r][c])
  /// with S[k][c] parameter c of source k, r = reference, coefficients A [candidates][sources];
  /// the affine form keeps a merge exact where the coefficients name one source.
  void (*merge_half)(const std::uint16_t* block, std::size_t sources, std::size_t reference,
                     const float* coefficients, std::size_t candidates, float* out,
                     std::size_t stride);
  void (*merge_float)(const float* block, std::size_t sources, std::size_t reference,
                      const float* coefficients, std::size_t candidates, float* out,
                      std::size_t stride);
};

/// The tables this processor can run, best first; never empty.
struct SimdKernelList {
  const SimdKernels* tables[3];
  std::size_t count;
};
SimdKernelList supported_simd_kernels();

/// The best table for this processor.
const SimdKernels& simd_kernels();

}  // namespace paretod
