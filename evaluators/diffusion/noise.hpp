#pragma once
// The starting noise of samples, by counter: sample i of block r under seed s is the same whatever
// else was drawn, so that candidates are compared on common random numbers, blocks are independent,
// and a block of fewer samples is a prefix of a block of more.  Standard normal, from Philox
// (optimizers/core/rng.hpp) with seed s, stream r, substream i.
//
// A bounded cache keeps the blocks used last.  Not thread-safe; the blocks it hands out are
// immutable and outlive their eviction.

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "evaluators/diffusion/aligned.hpp"

namespace paretod {

/// [tiles][pixels][tile_lanes]: whole tiles, so the last may hold noise beyond the samples asked.
using NoiseBlock = AlignedVector<float>;

class NoiseSource {
 public:
  NoiseSource(std::uint64_t seed, std::size_t pixels, std::size_t cache_bytes);

  /// At least `samples` samples of block `replicate`.
  std::shared_ptr<const NoiseBlock> block(std::uint64_t replicate, std::size_t samples,
                                          std::size_t threads);

 private:
  struct Entry {
    std::uint64_t replicate;
    std::shared_ptr<const NoiseBlock> block;
  };

  std::uint64_t seed_;
  std::size_t pixels_;
  std::size_t cache_bytes_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace paretod
