#include "evaluators/merge/block_merger.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "evaluators/merge/tensor_pass.hpp"

namespace paretod {
namespace {

/// Files that a processor reads side by side before its sums are better kept in the cache.
constexpr std::size_t streams_side_by_side = 8;

}  // namespace

struct BlockMerger::Rows {
  std::size_t base = 0;
  std::size_t rows = 0;
  std::size_t out = 0;
  std::size_t kept = 0;
  std::size_t ranks = 0;
  std::size_t importance = 0;
  std::size_t quotients = 0;  ///< each of divisor_ and fallback_
  std::size_t random = 0;

  [[nodiscard]] std::size_t all() const {
    // One for narrowed_, and two for sorting_ where there are ranks.
    return base + rows + out + kept + ranks + importance + 2 * quotients + random + 1 +
           (ranks > 0 ? 2 : 0);
  }
};

BlockMerger::Rows BlockMerger::rows_of(const MergeRule& rule, const BlockShape& shape) {
  const MergeTraits traits = traits_of(rule.method);
  const bool sparse = traits.sparsifier != Sparsifier::none;
  Rows rows;
  rows.base = traits.uses_base ? 1 : 0;
  rows.out = shape.candidates;
  // A single plain candidate takes the sources as they come.
  if (sparse || shape.candidates > 1 || rule.method == MergeMethod::fisher) {
    rows.rows = shape.sources;
  }
  if (sparse) rows.kept = shape.sources;
  if (traits.sparsifier == Sparsifier::random || traits.sparsifier == Sparsifier::della) {
    rows.random = shape.sources;
  }
  if (traits.sparsifier == Sparsifier::della) rows.ranks = shape.sources;
  if (rule.method == MergeMethod::fisher) {
    rows.importance = rows.kept = shape.sources;
    rows.quotients = shape.candidates;
  }
  return rows;
}

std::uint64_t BlockMerger::memory(const MergeRule& rule, const BlockShape& shape) {
  return std::uint64_t{sizeof(float)} * shape.stride() * rows_of(rule, shape).all();
}

BlockMerger::BlockMerger(const MergeKernels& kernels, const MergeRule& rule,
                         const BlockShape& shape)
    : kernels_(kernels),
      rule_(rule),
      traits_(traits_of(rule.method)),
      shape_(shape),
      stride_(shape.stride()) {
  const Rows rows = rows_of(rule, shape);
  base_.resize(rows.base * stride_);
  rows_.resize(rows.rows * stride_);
  out_.resize(rows.out * stride_);
  kept_.resize(rows.kept * stride_);
  ranks_.resize(rows.ranks * stride_);
  importance_.resize(rows.importance * stride_);
  divisor_.resize(rows.quotients * stride_);
  fallback_.resize(rows.quotients * stride_);
  narrowed_.resize(stride_ * sizeof(float));
  random_.resize(rows.random * stride_);
  drawn_.resize(rows.random);
  if (rows.ranks > 0) sorting_.resize(stride_);
}

bool BlockMerger::merge(const MergedTensor& tensor, const TensorFactors& factors,
                        std::uint64_t begin, std::size_t count) {
  if (rule_.method == MergeMethod::fisher) return merge_fisher(tensor, factors, begin, count);
  if (traits_.sparsifier == Sparsifier::none) {
    merge_plain(tensor, factors, begin, count);
  } else {
    merge_sparse(tensor, factors, begin, count);
  }
  return true;
}

void BlockMerger::merge_plain(const MergedTensor& tensor, const TensorFactors& factors,
                              std::uint64_t begin, std::size_t count) {
  const std::size_t sources = tensor.sources.size();
  const std::size_t candidates = factors.finish.size();
  const float* base = nullptr;
  if (traits_.uses_base) {
    base = base_.data();
    kernels_.widen(stored_float(tensor.base->dtype), element_at(*tensor.base, begin), count,
                   base_.data());
  }
  if (candidates == 1) {
    std::fill_n(out_.data(), merge_padded(count), 0.0F);
    for (std::size_t k = 0; k < sources; ++k) {
      const TensorView& source = *tensor.sources[k];
      kernels_.accumulate(stored_float(source.dtype), element_at(source, begin), base,
                          factors.weights[k], count, out_.data());
    }
  } else {
    for (std::size_t k = 0; k < sources; ++k) {
      const TensorView& source = *tensor.sources[k];
      const StoredFloat dtype = stored_float(source.dtype);
      if (base == nullptr) {
        kernels_.widen(dtype, element_at(source, begin), count, row(rows_, k));
      } else {
        kernels_.widen_difference(dtype, element_at(source, begin), base, count, row(rows_, k));
      }
    }
    kernels_.combine(rows_.data(), sources, factors.weights.data(), candidates, count, out_.data(),
                     stride_);
  }
  if (base == nullptr) return;
  for (std::size_t p = 0; p < candidates; ++p) {
    kernels_.finish(base, factors.finish[p], count, row(out_, p));
  }
}

bool BlockMerger::takes_whole(const MergeRule& rule, const MergedTensor& tensor,
                              std::size_t candidates) {
  const MergeTraits traits = traits_of(rule.method);
  if (candidates != 1 || tensor.copied || traits.sparsifier != Sparsifier::none ||
      rule.method == MergeMethod::fisher || tensor.sources.size() > streams_side_by_side) {
    return false;
  }
  const DType dtype = tensor.sources[0]->dtype;
  return (!traits.uses_base || tensor.base->dtype == dtype) &&
         std::all_of(tensor.sources.begin(), tensor.sources.end(),
                     [&](const TensorView* source) { return source->dtype == dtype; });
}

void BlockMerger::merge_into(std::byte* to, const MergedTensor& tensor,
                             const TensorFactors& factors, std::uint64_t begin, std::size_t count,
                             bool stream) const {
  std::array<const std::byte*, streams_side_by_side> sources{};
  for (std::size_t k = 0; k < tensor.sources.size(); ++k) {
    sources[k] = element_at(*tensor.sources[k], begin);
  }
  PlainMerge merge;
  merge.dtype = stored_float(tensor.sources[0]->dtype);
  merge.sources = std::span(sources).first(tensor.sources.size());
  merge.weights = factors.weights.data();
  if (traits_.uses_base) {
    merge.base = element_at(*tensor.base, begin);
    merge.factor = factors.finish[0];
  }
  kernels_.merge(merge, count, stored_float(tensor.layout.dtype), to, stream);
}

void BlockMerger::read_differences(const MergedTensor& tensor, std::uint64_t begin,
                                   std::size_t count) {
  kernels_.widen(stored_float(tensor.base->dtype), element_at(*tensor.base, begin), count,
                 base_.data());
  for (std::size_t k = 0; k < tensor.sources.size(); ++k) {
    const TensorView& source = *tensor.sources[k];
    kernels_.widen_difference(stored_float(source.dtype), element_at(source, begin), base_.data(),
                              count, row(rows_, k));
  }
}

void BlockMerger::merge_sparse(const MergedTensor& tensor, const TensorFactors& factors,
                               std::uint64_t begin, std::size_t count) {
  const std::size_t sources = tensor.sources.size();
  read_differences(tensor, begin, count);
  if (traits_.sparsifier == Sparsifier::della) {
    rank(row_elements(tensor.layout.shape, tensor.layout.elements()), count);
  }
  for (std::size_t p = 0; p < factors.finish.size(); ++p) {
    for (std::size_t k = 0; k < sources; ++k) {
      sparsify(factors, p, k, begin, count, row(kept_, k));
    }
    if (traits_.elects_sign) {
      kernels_.elect(kept_.data(), sources, &factors.weights[p * sources], rule_.normalize, count,
                     row(out_, p), stride_);
    } else {
      std::copy_n(kept_.data(), merge_padded(count), row(out_, p));
      for (std::size_t k = 1; k < sources; ++k) {
        kernels_.finish(row(kept_, k), 1.0F, count, row(out_, p));
      }
    }
    kernels_.finish(base_.data(), factors.finish[p], count, row(out_, p));
  }
}

bool BlockMerger::merge_fisher(const MergedTensor& tensor, const TensorFactors& factors,
                               std::uint64_t begin, std::size_t count) {
  const std::size_t sources = tensor.sources.size();
  const std::size_t candidates = factors.finish.size();
  bool right = true;
  for (std::size_t k = 0; k < sources; ++k) {
    const TensorView& source = *tensor.sources[k];
    const TensorView& importance = *tensor.importance[k];
    kernels_.widen(stored_float(source.dtype), element_at(source, begin), count, row(rows_, k));
    kernels_.widen(stored_float(importance.dtype), element_at(importance, begin), count,
                   row(importance_, k));
    right = kernels_.weigh(row(rows_, k), row(importance_, k), count, row(kept_, k)) && right;
  }
  const float* weights = factors.weights.data();
  kernels_.combine(kept_.data(), sources, weights, candidates, count, out_.data(), stride_);
  kernels_.combine(importance_.data(), sources, weights, candidates, count, divisor_.data(),
                   stride_);
  kernels_.combine(rows_.data(), sources, weights, candidates, count, fallback_.data(), stride_);
  for (std::size_t p = 0; p < candidates; ++p) {
    kernels_.divide(row(divisor_, p), row(fallback_, p), count, row(out_, p));
  }
  return right;
}

const std::uint32_t* BlockMerger::random(std::uint64_t tensor_seed, std::size_t k,
                                         std::uint64_t begin, std::size_t count) {
  const std::size_t skipped = begin % 4;
  std::uint32_t* numbers = random_.data() + k * stride_;
  Drawn& drawn = drawn_[k];
  if (drawn.seed != tensor_seed || drawn.begin != begin || drawn.count != count) {
    kernels_.random_bits(mask_key(tensor_seed, k), begin - skipped, count + skipped, numbers);
    drawn = {tensor_seed, begin, count};
  }
  return numbers + skipped;
}

void BlockMerger::sparsify(const TensorFactors& factors, std::size_t p, std::size_t k,
                           std::uint64_t begin, std::size_t count, float* out) {
  const std::size_t at = p * shape_.sources + k;
  const Keep& keep = factors.keeps[at];
  const float scale = factors.scales[at];
  const float* d = difference(k);
  switch (keep.kind) {
    case Keep::Kind::all:
      return kernels_.keep_between(d, count, -1, 0x7FFFFFFF, scale, out);
    case Keep::Kind::none:
      std::fill_n(out, merge_padded(count), 0.0F);
      return;
    case Keep::Kind::between:
      return sparsify_between(keep, d, begin, count, scale, out);
    case Keep::Kind::random:
      return kernels_.keep_random(d, random(factors.seeds[p], k, begin, count), count, keep.below,
                                  scale, out);
    case Keep::Kind::ranked:
      return sparsify_ranked(keep, k, random(factors.seeds[p], k, begin, count), count, scale, out);
  }
}

void BlockMerger::sparsify_between(const Keep& keep, const float* d, std::uint64_t begin,
                                   std::size_t count, float scale, float* out) const {
  // Up to three parts: before and behind the places where equal magnitudes stop to count.
  std::array<std::size_t, 4> ends{0, 0, 0, count};
  const auto within = [&](std::uint64_t cut) {
    return static_cast<std::size_t>(std::clamp<std::uint64_t>(cut, begin, begin + count) - begin);
  };
  ends[1] = std::min(within(keep.kept.cut), within(keep.dropped.cut));
  ends[2] = std::max(within(keep.kept.cut), within(keep.dropped.cut));
  for (std::size_t part = 0; part < 3; ++part) {
    const std::size_t from = ends[part];
    if (from == ends[part + 1]) continue;
    const std::int32_t low = keep.kept.bits - (begin + from < keep.kept.cut ? 1 : 0);
    const std::int32_t high = keep.dropped.bits - (begin + from < keep.dropped.cut ? 1 : 0);
    kernels_.keep_between(d + from, ends[part + 1] - from, low, high, scale, out + from);
  }
}

void BlockMerger::sparsify_ranked(const Keep& keep, std::size_t k, const std::uint32_t* random,
                                  std::size_t count, float scale, float* out) const {
  const float* d = difference(k);
  const float* ranks = ranks_.data() + k * stride_;
  const bool expected = rule_.rescale == Rescale::expected;
  for (std::size_t i = 0; i < count; ++i) {
    const double p = kept_probability(keep.density, rule_.epsilon, static_cast<double>(ranks[i]));
    const bool kept = static_cast<double>(random[i]) < p * 0x1p32;
    const float factor = expected ? static_cast<float>(static_cast<double>(scale) / p) : scale;
    out[i] = kept ? factor * d[i] : 0.0F;
  }
  std::fill(out + count, out + merge_padded(count), 0.0F);
}

void BlockMerger::rank(std::size_t row_size, std::size_t count) {
  for (std::size_t k = 0; k < shape_.sources; ++k) {
    float* ranks = row(ranks_, k);
    for (std::size_t first = 0; first < count; first += row_size) {
      const float* d = difference(k) + first;
      std::uint64_t* keys = sorting_.data();
      for (std::size_t i = 0; i < row_size; ++i) {
        const std::uint32_t bits = std::bit_cast<std::uint32_t>(d[i]) & 0x7FFFFFFFU;
        keys[i] = std::uint64_t{bits} << 32 | i;
      }
      std::sort(keys, keys + row_size);
      for (std::size_t i = 0; i < row_size; ++i) {
        ranks[first + (keys[i] & 0xFFFFFFFFU)] =
            row_size > 1 ? static_cast<float>(i) / static_cast<float>(row_size - 1) : 0.5F;
      }
    }
  }
}

}  // namespace paretod
