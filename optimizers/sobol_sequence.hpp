#pragma once
// Points that fill the unit cube evenly: Sobol's sequence (direction numbers of Joe and Kuo, SIAM
// J. Sci. Comput. 30, 2008, as Boost tabulates them) under Owen's nested uniform scrambling (Owen,
// 1995), which keeps the evenness, removes the origin and makes independent repetitions possible.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace paretod {

class SobolSequence {
 public:
  /// As far as the table of direction numbers goes.
  static constexpr std::size_t most_dimensions = 3667;

  /// Requires 1 <= dimensions <= most_dimensions.
  SobolSequence(std::size_t dimensions, std::uint64_t seed);
  ~SobolSequence();
  SobolSequence(const SobolSequence&) = delete;
  SobolSequence& operator=(const SobolSequence&) = delete;

  /// The next point, in [0, 1) in every coordinate.
  std::vector<double> next();

 private:
  struct Engine;
  std::unique_ptr<Engine> engine_;
  std::size_t dimensions_;
  std::uint64_t seed_;
  bool first_ = true;
};

}  // namespace paretod
