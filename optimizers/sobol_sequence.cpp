#include "optimizers/sobol_sequence.hpp"

#include <boost/random/sobol.hpp>

#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

constexpr int bits = 32;

/// Each bit is flipped or not as a random function of those above it says.
std::uint32_t scramble(std::uint32_t value, std::uint64_t key) {
  std::uint32_t flips = 0;
  std::uint64_t prefix = 1;  // marks its own length
  for (int bit = bits - 1; bit >= 0; --bit) {
    const auto flip = static_cast<std::uint32_t>(mix64(key, prefix) & 1);
    flips |= flip << bit;
    prefix = prefix << 1 | (value >> bit & 1);
  }
  return value ^ flips;
}

}  // namespace

struct SobolSequence::Engine {
  explicit Engine(std::size_t dimensions) : sobol(dimensions) {}
  boost::random::sobol_engine<std::uint32_t, bits> sobol;
};

SobolSequence::SobolSequence(std::size_t dimensions, std::uint64_t seed)
    : engine_(std::make_unique<Engine>(dimensions)), dimensions_(dimensions), seed_(seed) {}

SobolSequence::~SobolSequence() = default;

std::vector<double> SobolSequence::next() {
  std::vector<double> point(dimensions_);
  for (std::size_t d = 0; d < dimensions_; ++d) {
    // Boost leaves out the first point, zero, without which no 2^k of them are evenly spread.
    const std::uint32_t value = first_ ? 0 : engine_->sobol();
    point[d] = scramble(value, mix64(seed_, d)) * 0x1p-32;
  }
  first_ = false;
  return point;
}

}  // namespace paretod
