#pragma once
// Merges blocks of a tensor for all candidates of a pass: widens the block of each model once, into
// rows that stay in the cache, and combines them for each candidate.  Owns one worker's memory;
// not thread-safe.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/merge/merge_factors.hpp"
#include "evaluators/merge/merge_kernels.hpp"
#include "evaluators/merge/merge_sources.hpp"

namespace paretod {

/// What a BlockMerger has to be able to hold.
struct BlockShape {
  std::size_t sources = 1;
  std::size_t candidates = 1;
  std::size_t elements = 0;

  [[nodiscard]] std::size_t stride() const { return merge_padded(elements) + merge_pad; }
};

class BlockMerger {
 public:
  BlockMerger(const MergeKernels& kernels, const MergeRule& rule, const BlockShape& shape);

  /// Bytes that one of this shape allocates.
  static std::uint64_t memory(const MergeRule& rule, const BlockShape& shape);

  /// `count` elements from `begin` on; with della, whole rows.  False when an importance is not a
  /// number from 0 on.
  [[nodiscard]] bool merge(const MergedTensor& tensor, const TensorFactors& factors,
                           std::uint64_t begin, std::size_t count);
  /// Of candidate p, the result of merge(); padded.
  [[nodiscard]] const float* merged(std::size_t p) const { return out_.data() + p * stride_; }
  /// Whether the tensor is merged for so many candidates without rows in between, by merge_into().
  [[nodiscard]] static bool takes_whole(const MergeRule& rule, const MergedTensor& tensor,
                                        std::size_t candidates);
  /// The one candidate's elements, of the layout's dtype, to where they belong; any number of them.
  void merge_into(std::byte* to, const MergedTensor& tensor, const TensorFactors& factors,
                  std::uint64_t begin, std::size_t count, bool stream) const;
  /// For narrowed results: room for `elements` floats.
  [[nodiscard]] std::byte* narrowed() { return narrowed_.data(); }

  // The parts of merge(), for statistics.

  /// The most that fit.
  [[nodiscard]] std::size_t elements() const { return shape_.elements; }
  /// Widens the base and the sources' differences.
  void read_differences(const MergedTensor& tensor, std::uint64_t begin, std::size_t count);
  [[nodiscard]] const float* base() const { return base_.data(); }
  [[nodiscard]] const float* difference(std::size_t k) const { return rows_.data() + k * stride_; }
  /// After read_differences(): what the candidate keeps of source k, times its scale.
  void sparsify(const TensorFactors& factors, std::size_t p, std::size_t k, std::uint64_t begin,
                std::size_t count, float* out);
  /// After read_differences(), for della: ranks of the magnitudes within rows of so many elements.
  void rank(std::size_t row, std::size_t count);
  /// A row of padding for sparsify().
  [[nodiscard]] float* spare() { return kept_.data(); }

 private:
  struct Rows;  // how many of each
  static Rows rows_of(const MergeRule& rule, const BlockShape& shape);

  void merge_plain(const MergedTensor& tensor, const TensorFactors& factors, std::uint64_t begin,
                   std::size_t count);
  void merge_sparse(const MergedTensor& tensor, const TensorFactors& factors, std::uint64_t begin,
                    std::size_t count);
  bool merge_fisher(const MergedTensor& tensor, const TensorFactors& factors, std::uint64_t begin,
                    std::size_t count);
  void sparsify_between(const Keep& keep, const float* d, std::uint64_t begin, std::size_t count,
                        float scale, float* out) const;
  void sparsify_ranked(const Keep& keep, std::size_t k, const std::uint32_t* random,
                       std::size_t count, float scale, float* out) const;
  /// Random numbers of source k for the block.
  const std::uint32_t* random(std::uint64_t tensor_seed, std::size_t k, std::uint64_t begin,
                              std::size_t count);
  [[nodiscard]] float* row(AlignedVector<float>& rows, std::size_t i) const {
    return rows.data() + i * stride_;
  }

  const MergeKernels& kernels_;
  const MergeRule rule_;
  const MergeTraits traits_;
  const BlockShape shape_;
  const std::size_t stride_;

  AlignedVector<float> base_;
  AlignedVector<float> rows_;  ///< [source]: differences or values
  AlignedVector<float> out_;   ///< [candidate]
  AlignedVector<float> kept_;  ///< [source]
  AlignedVector<float> ranks_;
  AlignedVector<float> importance_;  ///< [source]
  AlignedVector<float> divisor_;     ///< [candidate]
  AlignedVector<float> fallback_;    ///< [candidate]
  AlignedVector<std::byte> narrowed_;
  AlignedVector<std::uint32_t> random_;  ///< [source]
  std::vector<std::uint64_t> sorting_;

  /// What random_ holds.
  struct Drawn {
    std::uint64_t seed = 0;
    std::uint64_t begin = std::numeric_limits<std::uint64_t>::max();
    std::size_t count = 0;
  };
  std::vector<Drawn> drawn_;
};

}  // namespace paretod
