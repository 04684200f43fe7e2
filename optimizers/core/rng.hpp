#pragma once
// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011).  A stream is named by (seed, stream, substream), so any draw can be
// keyed by what it is for (a job's seed and a trial's number, say) instead of by what was drawn
// before it.  The distributions are our own because those of the standard library are not
// specified bit for bit, and a search must replay identically.

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace paretod {

/// Ten rounds of Philox on one 128-bit counter under a 64-bit key.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// The standard normal quantile function (Wichura, algorithm AS 241, PPND16); 0 < p < 1,
/// relative error about 1e-16.
double normal_quantile(double p);

/// A small value type; copy it to fork a stream.  Not thread-safe.
class Rng {
 public:
  /// Streams with different (seed, stream, substream) never overlap: substream and position share
  /// the counter, 2^32 blocks each.
  explicit Rng(std::uint64_t seed, std::uint64_t stream = 0, std::uint32_t substream = 0);

  std::uint32_t bits32();
  std::uint64_t bits64();
  /// Uniform on [0, 1), 53 bits.
  double uniform();
  /// Uniform on [low, high); requires low <= high.
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Uniform on {0, ..., n-1} without bias; requires n > 0.
  std::uint64_t below(std::uint64_t n);
  /// Standard normal by inversion: exactly one 53-bit draw each.
  double normal();
  bool bernoulli(double probability) { return uniform() < probability; }

  template <class T>
  void shuffle(std::vector<T>& items) {  // Fisher-Yates, from the back
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  unsigned used_ = 4;
};

/// A 64-bit mix of two values, for deriving seeds (SplitMix64 finaliser).
std::uint64_t mix64(std::uint64_t a, std::uint64_t b);

}  // namespace paretod
