#pragma once
// The arithmetic of merging, once per instruction set: loops over one block of elements.  Every
// element is computed by the same operations in the same order wherever it lies in a block, so that
// results do not depend on how tensors are cut.
//
// Rows of floats are padded: kernels may read and write up to merge_padded(count) of them.  Stored
// bytes are touched up to `count` only and need no alignment.  The tables are constant, the
// functions pure; any thread.

#include <cstddef>
#include <cstdint>
#include <span>

namespace paretod {

/// Rows are multiples of so many floats.
inline constexpr std::size_t merge_pad = 32;

inline constexpr std::size_t merge_padded(std::size_t count) {
  return (count + merge_pad - 1) / merge_pad * merge_pad;
}

/// How floats are stored.
enum class StoredFloat : std::uint8_t {
  f32,
  f16,
  bf16,
  f64,  ///< widened (rounded to float) only
};

/// A weighted sum, or a base and a factor times the weighted sum of differences from it; for one
/// candidate and for models of one dtype, as few as the processor can read side by side.
struct PlainMerge {
  StoredFloat dtype = StoredFloat::f32;
  std::span<const std::byte* const> sources;
  const float* weights = nullptr;  ///< [source]
  const std::byte* base = nullptr;
  float factor = 1;
};

struct MergeKernels {
  const char* name;

  /// to[i] = number i; then zeros up to the padding.
  void (*widen)(StoredFloat dtype, const std::byte* from, std::size_t count, float* to);
  /// to[i] = number i - base[i]; likewise.
  void (*widen_difference)(StoredFloat dtype, const std::byte* from, const float* base,
                           std::size_t count, float* to);
  /// Rounds to nearest, ties to even.  `stream`: past the caches, for what nobody reads soon.
  void (*narrow)(StoredFloat dtype, const float* from, std::size_t count, std::byte* to,
                 bool stream);

  /// sum[i] = fma(weight, number i (- base[i] unless null), sum[i])
  void (*accumulate)(StoredFloat dtype, const std::byte* from, const float* base, float weight,
                     std::size_t count, float* sum);
  /// The whole of a plain merge of `count` elements in registers, bit for bit: accumulate() for
  /// each source in order from zeros, finish() where there is a base, narrow().
  void (*merge)(const PlainMerge& merge, std::size_t count, StoredFloat to_dtype, std::byte* to,
                bool stream);
  /// out[p * stride + i] = sum over k, in order, of weights[p * rows + k] panel[k * stride + i]; as
  /// accumulate() for each k from zeros.
  void (*combine)(const float* panel, std::size_t rows, const float* weights,
                  std::size_t candidates, std::size_t count, float* out, std::size_t stride);
  /// inout[i] = fma(factor, inout[i], base[i])
  void (*finish)(const float* base, float factor, std::size_t count, float* inout);

  /// out[i] = factor d[i] where low < bits of |d[i]| <= high, else 0.
  void (*keep_between)(const float* d, std::size_t count, std::int32_t low, std::int32_t high,
                       float factor, float* out);
  /// out[i] = factor d[i] where random[i] < below, else 0.
  void (*keep_random)(const float* d, const std::uint32_t* random, std::size_t count,
                      std::uint32_t below, float factor, float* out);
  /// Numbers first, first + 1, ... of a stream: word i % 4 of Philox4x32-10 at counter i / 4.
  /// `first` is a multiple of 4; writes up to the padding.
  void (*random_bits)(std::uint64_t key, std::uint64_t first, std::size_t count,
                      std::uint32_t* out);
  /// For each element the sign of the sum of the rows (0 counts as positive) and the sum of the
  /// rows that have it; `divide`: by the sum of their weights, where that is not 0.
  void (*elect)(const float* panel, std::size_t rows, const float* weights, bool divide,
                std::size_t count, float* out, std::size_t stride);

  /// importance[i] *= values[i] goes to products; false when any importance is negative or NaN.
  bool (*weigh)(const float* values, const float* importance, std::size_t count, float* products);
  /// out[i] = out[i] / divisor[i], or fallback[i] where the divisor is 0.
  void (*divide)(const float* divisor, const float* fallback, std::size_t count, float* out);
};

/// The tables this processor can run, best first; never empty.
struct MergeKernelList {
  const MergeKernels* tables[3];
  std::size_t count;
};
MergeKernelList supported_merge_kernels();

/// The best table for this processor.
const MergeKernels& merge_kernels();

/// Null where the compiler was not told to use the instruction set.
const MergeKernels* avx512_merge_kernels();
const MergeKernels* avx2_merge_kernels();
const MergeKernels* baseline_merge_kernels();

}  // namespace paretod
