#include "evaluators/merge/largest_elements.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <limits>

#include "evaluators/diffusion/aligned.hpp"

namespace paretod {
namespace {

constexpr unsigned low_bits = 15;
constexpr std::size_t high_buckets = 1U << (31 - low_bits);
constexpr std::size_t low_buckets = 1U << low_bits;

std::uint32_t magnitude_bits(float value) {
  return std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFU;
}

/// The differences of a range, a chunk at a time.
class Differences {
 public:
  Differences(const MergeKernels& kernels, const TensorView& source, const TensorView& base)
      : kernels_(kernels), source_(source), base_(base), rows_(2 * merge_padded(pass_chunk)) {}

  /// body(index of the first, its differences)
  template <class Body>
  void each(std::uint64_t begin, std::size_t count, Body body) {
    float* base = rows_.data();
    float* row = base + merge_padded(pass_chunk);
    for (std::size_t done = 0; done < count; done += pass_chunk) {
      const std::size_t some = std::min(pass_chunk, count - done);
      kernels_.widen(stored_float(base_.dtype), element_at(base_, begin + done), some, base);
      kernels_.widen_difference(stored_float(source_.dtype), element_at(source_, begin + done),
                                base, some, row);
      body(begin + done, std::span<const float>(row, some));
    }
  }

 private:
  const MergeKernels& kernels_;
  const TensorView& source_;
  const TensorView& base_;
  AlignedVector<float> rows_;
};

std::vector<LargestElements> by_sorting(const MergeKernels& kernels, const TensorView& source,
                                        const TensorView& base,
                                        std::span<const std::uint64_t> counts) {
  // Ascending by magnitude, of equal ones the first last: the largest are at the end.
  std::vector<std::uint64_t> keys;
  keys.reserve(source.elements());
  Differences(kernels, source, base)
      .each(0, source.elements(), [&](std::uint64_t begin, std::span<const float> row) {
        for (std::size_t i = 0; i < row.size(); ++i) {
          keys.push_back(std::uint64_t{magnitude_bits(row[i])} << 32 | (0xFFFFFFFFU - (begin + i)));
        }
      });
  std::sort(keys.begin(), keys.end());
  std::vector<LargestElements> answers;
  for (const std::uint64_t count : counts) {
    if (count == 0) {
      answers.push_back(LargestElements::none());
      continue;
    }
    const std::uint64_t last = keys[keys.size() - count];
    answers.push_back({static_cast<std::int32_t>(last >> 32), 0x100000000U - (last & 0xFFFFFFFFU)});
  }
  return answers;
}

/// One count on its way through the passes.
struct Search {
  std::uint64_t wanted = 0;  ///< how many of the present bucket are among the largest, from above
  std::uint32_t bucket = 0;
  std::size_t slot = 0;     ///< of the bucket's histogram in the second pass
  std::uint64_t found = 0;  ///< elements of exactly the bits
};

/// The bucket that holds the `wanted`-th from above; `wanted` becomes its number in the bucket.
std::uint32_t descend(std::span<const std::uint64_t> histogram, std::uint64_t& wanted) {
  auto bucket = static_cast<std::uint32_t>(histogram.size());
  while (true) {
    --bucket;
    if (wanted <= histogram[bucket]) return bucket;
    wanted -= histogram[bucket];
  }
}

class ByHistogram {
 public:
  ByHistogram(const MergeKernels& kernels, const PassLimits& limits, const TensorView& source,
              const TensorView& base)
      : limits_(limits),
        elements_(source.elements()),
        views_{&source, &base},
        readers_(limits.threads, Differences(kernels, source, base)) {}

  std::vector<LargestElements> answer(std::span<const std::uint64_t> counts) {
    std::vector<Search> searches;
    for (const std::uint64_t count : counts) searches.push_back({.wanted = count});
    const auto high =
        histogram(high_buckets, 1, [](std::uint32_t bits, auto add) { add(0, bits >> low_bits); });
    constexpr auto absent = static_cast<std::uint16_t>(-1);
    std::vector<std::uint16_t> slots(high_buckets, absent);
    std::uint16_t slot_count = 0;
    for (Search& search : searches) {
      if (search.wanted == 0) continue;
      search.bucket = descend(high, search.wanted);
      if (slots[search.bucket] == absent) slots[search.bucket] = slot_count++;
      search.slot = slots[search.bucket];
    }
    const auto low = histogram(low_buckets, slot_count, [&](std::uint32_t bits, auto add) {
      const std::uint16_t slot = slots[bits >> low_bits];
      if (slot != absent) add(slot, bits & (low_buckets - 1));
    });
    std::vector<LargestElements> answers;
    for (Search& search : searches) {
      if (search.wanted == 0) {
        answers.push_back(LargestElements::none());
        continue;
      }
      const auto part = std::span(low).subspan(search.slot * low_buckets, low_buckets);
      const std::uint32_t rest = descend(part, search.wanted);
      search.found = part[rest];
      answers.push_back({static_cast<std::int32_t>(search.bucket << low_bits | rest), elements_});
    }
    find_cuts(searches, answers);
    return answers;
  }

 private:
  /// `count` histograms of `buckets`; place(bits, add) calls add(histogram, bucket) or does not.
  template <class Place>
  std::vector<std::uint64_t> histogram(std::size_t buckets, std::size_t count, Place place) {
    std::vector<std::vector<std::uint64_t>> parts(limits_.threads);
    TensorPass(limits_, views_, elements_)
        .run(pass_unit, [&](std::uint64_t begin, std::size_t some, std::size_t worker) {
          std::vector<std::uint64_t>& mine = parts[worker];
          if (mine.empty()) mine.resize(buckets * count);
          readers_[worker].each(begin, some, [&](std::uint64_t, std::span<const float> row) {
            for (const float x : row) {
              place(magnitude_bits(x), [&](std::size_t which, std::uint32_t bucket) {
                ++mine[which * buckets + bucket];
              });
            }
          });
        });
    std::vector<std::uint64_t> sum(buckets * count);
    for (const auto& part : parts) {
      for (std::size_t i = 0; i < part.size(); ++i) sum[i] += part[i];
    }
    return sum;
  }

  /// Where not all elements of the least magnitude are wanted: behind the last wanted one.
  void find_cuts(std::span<const Search> searches, std::vector<LargestElements>& answers) {
    struct Open {
      std::size_t answer;
      std::uint64_t left;  ///< wanted from here on
    };
    std::vector<Open> open;
    for (std::size_t i = 0; i < searches.size(); ++i) {
      if (searches[i].wanted < searches[i].found) open.push_back({i, searches[i].wanted});
    }
    if (open.empty()) return;
    const TensorPass pass(limits_, views_, elements_);
    std::vector<std::uint64_t> equal;  // per unit of a window and open answer
    const std::size_t width = open.size();
    equal.assign(pass.window_units(pass_unit) * width, 0);
    std::uint64_t window = 0;  // its first unit
    pass.run(
        pass_unit,
        [&](std::uint64_t begin, std::size_t some, std::size_t worker) {
          std::uint64_t* mine = &equal[(begin / pass_unit - window) * width];
          std::fill(mine, mine + width, 0);
          readers_[worker].each(begin, some, [&](std::uint64_t, std::span<const float> row) {
            for (std::size_t i = 0; i < width; ++i) {
              const auto bits = static_cast<std::uint32_t>(answers[open[i].answer].bits);
              mine[i] += static_cast<std::uint64_t>(std::count_if(
                  row.begin(), row.end(), [bits](float x) { return magnitude_bits(x) == bits; }));
            }
          });
        },
        [&](std::uint64_t first, std::uint64_t end) {
          bool more = false;
          for (std::size_t i = 0; i < width; ++i) {
            if (open[i].left == 0) continue;
            for (std::uint64_t unit = first; unit < end && open[i].left > 0; ++unit) {
              const std::uint64_t here = equal[(unit - first) * width + i];
              if (here >= open[i].left) {
                answers[open[i].answer].cut = locate(answers[open[i].answer], unit, open[i].left);
                open[i].left = 0;
              } else {
                open[i].left -= here;
              }
            }
            more = more || open[i].left > 0;
          }
          window = end;
          return more;
        });
  }

  /// Behind the `number`-th element of these bits in the unit.
  std::uint64_t locate(const LargestElements& answer, std::uint64_t unit, std::uint64_t number) {
    std::uint64_t cut = 0;
    const std::uint64_t begin = unit * pass_unit;
    const auto some =
        static_cast<std::size_t>(std::min<std::uint64_t>(pass_unit, elements_ - begin));
    readers_[0].each(begin, some, [&](std::uint64_t first, std::span<const float> row) {
      for (std::size_t i = 0; i < row.size() && number > 0; ++i) {
        if (magnitude_bits(row[i]) != static_cast<std::uint32_t>(answer.bits)) continue;
        if (--number == 0) cut = first + i + 1;
      }
    });
    return cut;
  }

  const PassLimits limits_;
  const std::uint64_t elements_;
  const std::array<const TensorView*, 2> views_;
  std::vector<Differences> readers_;
};

}  // namespace

std::uint64_t largest_elements_memory(std::size_t threads, std::size_t counts) {
  const std::uint64_t histograms = 8 * (threads + 1) * (high_buckets + counts * low_buckets);
  return histograms + threads * 2 * pass_chunk * sizeof(float) + 2 * high_buckets;
}

std::vector<LargestElements> largest_elements(const MergeKernels& kernels, const PassLimits& limits,
                                              const TensorView& source, const TensorView& base,
                                              std::span<const std::uint64_t> counts) {
  if (source.elements() <= pass_unit) return by_sorting(kernels, source, base, counts);
  return ByHistogram(kernels, limits, source, base).answer(counts);
}

}  // namespace paretod
