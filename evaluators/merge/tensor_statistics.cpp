#include "evaluators/merge/tensor_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "evaluators/diffusion/parallel.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

/// Remembered thresholds; one is about a hundred bytes.
constexpr std::size_t most_remembered = 100'000;
/// Sums below it are not restored (mergekit).
constexpr double least_norm = 1e-7;
/// Sums over a row in an order of its own, the same for every length of row.
class LaneSum {
 public:
  template <class Term>
  void add(std::size_t count, Term term) {
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      for (std::size_t l = 0; l < lanes; ++l) sums_[l] += term(i + l);
    }
    for (std::size_t l = 0; i < count; ++i, ++l) sums_[l] += term(i);
  }
  [[nodiscard]] double total() const {
    double sum = 0;
    for (const double lane : sums_) sum += lane;
    return sum;
  }

 private:
  static constexpr std::size_t lanes = 8;
  std::array<double, lanes> sums_{};
};

}  // namespace

TensorStatistics::TensorStatistics(const MergeKernels& kernels, const MergeRule& rule,
                                   const MergeSources& sources, const PassLimits& limits,
                                   std::size_t counts_per_pass)
    : kernels_(kernels),
      rule_(rule),
      traits_(traits_of(rule.method)),
      sources_(sources),
      limits_(limits),
      counts_per_pass_(counts_per_pass) {
  for (const MergedTensor& tensor : sources.tensors()) {
    name_hashes_.push_back(tensor_name_hash(tensor.layout.name));
  }
}

std::vector<TensorFactors> TensorStatistics::factors(
    std::size_t first, std::size_t count, std::span<const MergeCandidate> candidates,
    std::span<const std::unique_ptr<BlockMerger>> workers) {
  if (uses_thresholds(traits_)) find_largest(first, count, candidates);
  std::vector<TensorFactors> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t tensor = first + i;
    const MergedTensor& merged = sources_.tensors()[tensor];
    if (merged.copied || merged.layout.elements() == 0) continue;
    if (rule_.method == MergeMethod::slerp) {
      slerp(tensor, candidates, out[i]);
      continue;
    }
    for (const MergeCandidate& candidate : candidates) {
      const GroupCoefficients& group = candidate.groups[merged.group];
      weigh(group, out[i]);
      if (traits_.sparsifier != Sparsifier::none) sparsify(tensor, group, out[i]);
      out[i].seeds.push_back(mix64(candidate.seed, name_hashes_[tensor]));
    }
    if (rule_.rescale == Rescale::l1 && traits_.sparsifier != Sparsifier::none) {
      restore_norms(tensor, out[i], workers);
    }
  }
  return out;
}

void TensorStatistics::weigh(const GroupCoefficients& group, TensorFactors& factors) const {
  const WeightFactors of = weight_factors(rule_, group);
  for (const double weight : group.weights) {
    factors.weights.push_back(static_cast<float>(weight / of.divisor));
  }
  factors.finish.push_back(static_cast<float>(of.finish));
}

void TensorStatistics::sparsify(std::size_t tensor, const GroupCoefficients& group,
                                TensorFactors& factors) const {
  const std::uint64_t elements = sources_.tensors()[tensor].layout.elements();
  for (std::size_t k = 0; k < group.densities.size(); ++k) {
    const double density = group.densities[k];
    const KeptShare share = kept_share(rule_, density, group.weights[k]);
    Keep keep;
    keep.kind = share.kind;
    keep.below = share.below;
    keep.density = density;
    if (share.kind == Keep::Kind::between) {
      const KeptCounts counts = kept_counts(rule_, density, elements);
      keep.kept = largest(tensor, k, counts.kept);
      keep.dropped = largest(tensor, k, counts.dropped);
    }
    factors.keeps.push_back(keep);
    factors.scales.push_back(static_cast<float>(share.scale));
  }
}

LargestElements TensorStatistics::largest(std::size_t tensor, std::size_t source,
                                          std::uint64_t count) const {
  if (count == 0) return LargestElements::none();
  if (count == sources_.tensors()[tensor].layout.elements()) return LargestElements::all();
  return largest_.at({tensor, source, count});
}

void TensorStatistics::find_largest(std::size_t first, std::size_t count,
                                    std::span<const MergeCandidate> candidates) {
  if (largest_.size() > most_remembered) largest_.clear();
  struct Question {
    std::size_t tensor;
    std::size_t source;
    std::vector<std::uint64_t> counts;
    std::vector<LargestElements> answers = {};
  };
  std::vector<Question> small;
  std::vector<Question> large;
  for (std::size_t tensor = first; tensor < first + count; ++tensor) {
    const MergedTensor& merged = sources_.tensors()[tensor];
    const std::uint64_t elements = merged.layout.elements();
    if (merged.copied) continue;
    for (std::size_t k = 0; k < merged.sources.size(); ++k) {
      std::set<std::uint64_t> counts;
      for (const MergeCandidate& candidate : candidates) {
        const double density = candidate.groups[merged.group].densities[k];
        const KeptCounts asked = kept_counts(rule_, density, elements);
        for (const std::uint64_t n : {asked.kept, asked.dropped}) {
          if (n > 0 && n < elements && !largest_.contains({tensor, k, n})) counts.insert(n);
        }
      }
      if (counts.empty()) continue;
      (elements <= pass_unit ? small : large)
          .push_back({tensor, k, std::vector<std::uint64_t>(counts.begin(), counts.end())});
    }
  }
  const auto answer = [this](Question& question, const PassLimits& limits) {
    const MergedTensor& merged = sources_.tensors()[question.tensor];
    const std::span<const std::uint64_t> counts(question.counts);
    for (std::size_t done = 0; done < counts.size(); done += counts_per_pass_) {
      const auto some =
          largest_elements(kernels_, limits, *merged.sources[question.source], *merged.base,
                           counts.subspan(done, std::min(counts_per_pass_, counts.size() - done)));
      question.answers.insert(question.answers.end(), some.begin(), some.end());
    }
  };
  parallel_for(limits_.threads, small.size(), [&](std::size_t i, std::size_t) {
    answer(small[i], {.threads = 1, .window_bytes = limits_.window_bytes});
  });
  for (Question& question : large) answer(question, limits_);
  for (const auto* questions : {&small, &large}) {
    for (const Question& question : *questions) {
      for (std::size_t i = 0; i < question.counts.size(); ++i) {
        largest_[{question.tensor, question.source, question.counts[i]}] = question.answers[i];
      }
    }
  }
}

const std::array<double, 3>& TensorStatistics::products(std::size_t tensor) {
  if (const auto known = products_.find(tensor); known != products_.end()) return known->second;
  const MergedTensor& merged = sources_.tensors()[tensor];
  std::vector<AlignedVector<float>> rows(limits_.threads,
                                         AlignedVector<float>(2 * merge_padded(pass_chunk)));
  const TensorPass pass(limits_, merged.sources, merged.layout.elements());
  std::vector<std::array<double, 3>> sums(pass.window_units(pass_unit));
  std::uint64_t window = 0;
  std::array<double, 3> total{};
  pass.run(
      pass_unit,
      [&](std::uint64_t begin, std::size_t count, std::size_t worker) {
        float* first = rows[worker].data();
        float* second = first + merge_padded(pass_chunk);
        std::array<LaneSum, 3> lanes;
        for (std::size_t done = 0; done < count; done += pass_chunk) {
          const std::size_t some = std::min(pass_chunk, count - done);
          for (std::size_t k = 0; k < 2; ++k) {
            const TensorView& source = *merged.sources[k];
            kernels_.widen(stored_float(source.dtype), element_at(source, begin + done), some,
                           k == 0 ? first : second);
          }
          const auto product = [](const float* a, const float* b) {
            return [a, b](std::size_t i) {
              return static_cast<double>(a[i]) * static_cast<double>(b[i]);
            };
          };
          lanes[0].add(some, product(first, first));
          lanes[1].add(some, product(second, second));
          lanes[2].add(some, product(first, second));
        }
        for (std::size_t i = 0; i < 3; ++i) {
          sums[begin / pass_unit - window][i] = lanes[i].total();
        }
      },
      [&](std::uint64_t begin, std::uint64_t end) {
        for (std::uint64_t unit = begin; unit < end; ++unit) {
          for (std::size_t i = 0; i < 3; ++i) total[i] += sums[unit - begin][i];
        }
        window = end;
        return true;
      });
  return products_[tensor] = total;
}

void TensorStatistics::slerp(std::size_t tensor, std::span<const MergeCandidate> candidates,
                             TensorFactors& factors) {
  const double cosine = cosine_between(products(tensor));
  for (const MergeCandidate& candidate : candidates) {
    const double t = candidate.groups[sources_.tensors()[tensor].group].t;
    for (const double weight : slerp_weights(cosine, t)) {
      factors.weights.push_back(static_cast<float>(weight));
    }
    factors.finish.push_back(1);
  }
}

void TensorStatistics::restore_norms(std::size_t tensor, TensorFactors& factors,
                                     std::span<const std::unique_ptr<BlockMerger>> workers) const {
  const MergedTensor& merged = sources_.tensors()[tensor];
  const std::uint64_t elements = merged.layout.elements();
  const std::size_t sources = merged.sources.size();
  const std::size_t candidates = factors.finish.size();
  // Masks alone, without weights.
  TensorFactors masks = factors;
  std::fill(masks.scales.begin(), masks.scales.end(), 1.0F);
  const std::uint64_t row = row_elements(merged.layout.shape, elements);
  const bool ranked = traits_.sparsifier == Sparsifier::della;
  const std::size_t chunk = ranked ? row : workers[0]->elements() / merge_pad * merge_pad;
  const std::size_t unit = ranked ? row * std::max<std::uint64_t>(pass_unit / row, 1) : pass_unit;

  std::vector<const TensorView*> views = merged.sources;
  views.push_back(merged.base);
  const TensorPass pass(limits_, views, elements);
  const std::size_t width = sources * (candidates + 1);  // before, then after for each candidate
  std::vector<double> sums(pass.window_units(unit) * width);
  std::vector<double> totals(width);
  std::uint64_t window = 0;
  pass.run(
      unit,
      [&](std::uint64_t begin, std::size_t count, std::size_t worker) {
        BlockMerger& merger = *workers[worker];
        std::vector<LaneSum> lanes(width);
        for (std::size_t done = 0; done < count; done += chunk) {
          const std::size_t some = std::min(chunk, count - done);
          merger.read_differences(merged, begin + done, some);
          if (ranked) merger.rank(row, some);
          for (std::size_t k = 0; k < sources; ++k) {
            const float* d = merger.difference(k);
            lanes[k * (candidates + 1)].add(
                some, [d](std::size_t i) { return std::abs(static_cast<double>(d[i])); });
            for (std::size_t p = 0; p < candidates; ++p) {
              const float* kept = merger.spare();
              merger.sparsify(masks, p, k, begin + done, some, merger.spare());
              lanes[k * (candidates + 1) + 1 + p].add(
                  some, [kept](std::size_t i) { return std::abs(static_cast<double>(kept[i])); });
            }
          }
        }
        for (std::size_t i = 0; i < width; ++i) {
          sums[(begin / unit - window) * width + i] = lanes[i].total();
        }
      },
      [&](std::uint64_t first, std::uint64_t end) {
        for (std::uint64_t i = 0; i < (end - first) * width; ++i) totals[i % width] += sums[i];
        window = end;
        return true;
      });
  for (std::size_t p = 0; p < candidates; ++p) {
    for (std::size_t k = 0; k < sources; ++k) {
      const double before = totals[k * (candidates + 1)];
      const double after = totals[k * (candidates + 1) + 1 + p];
      if (before < least_norm || after < least_norm) continue;
      float& scale = factors.scales[p * sources + k];
      scale = static_cast<float>(static_cast<double>(scale) * (before / after));
    }
  }
}

}  // namespace paretod
