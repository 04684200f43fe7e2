#include "evaluators/diffusion/noise.hpp"

#include <algorithm>

#include "evaluators/diffusion/parallel.hpp"
#include "evaluators/diffusion/tiles.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {

NoiseSource::NoiseSource(std::uint64_t seed, std::size_t pixels, std::size_t cache_bytes)
    : seed_(seed), pixels_(pixels), cache_bytes_(cache_bytes) {}

std::shared_ptr<const NoiseBlock> NoiseSource::block(std::uint64_t replicate, std::size_t samples,
                                                     std::size_t threads) {
  const std::size_t tile_size = pixels_ * tile_lanes;
  const std::size_t size = tiles_for(samples) * tile_size;
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [replicate](const Entry& e) { return e.replicate == replicate; });
  if (found != entries_.end() && found->block->size() >= size) {
    entries_.splice(entries_.begin(), entries_, found);
    return entries_.front().block;
  }

  const auto block = std::make_shared<NoiseBlock>(size);
  std::size_t known = 0;
  if (found != entries_.end()) {
    known = found->block->size();
    std::copy(found->block->begin(), found->block->end(), block->begin());
    entries_.erase(found);
  }
  const std::size_t first = known / tile_size;
  parallel_for(threads, tiles_for(samples) - first, [&](std::size_t index, std::size_t) {
    const std::size_t tile = first + index;
    for (std::size_t lane = 0; lane < tile_lanes; ++lane) {
      Rng rng(seed_, replicate, static_cast<std::uint32_t>(tile * tile_lanes + lane));
      float* to = block->data() + tile * tile_size + lane;
      for (std::size_t row = 0; row < pixels_; ++row) {
        to[row * tile_lanes] = static_cast<float>(rng.normal());
      }
    }
  });

  entries_.push_front({replicate, block});
  std::size_t bytes = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    bytes += entry->block->size() * sizeof(float);
    entry = bytes > cache_bytes_ && entry != entries_.begin() ? entries_.erase(entry)
                                                              : std::next(entry);
  }
  return block;
}

}  // namespace paretod
