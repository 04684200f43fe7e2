#pragma once
// The Frechet distance between two Gaussians (Dowson and Landau 1982; Heusel et al. 2017, section
// 2), as FID uses it:
//   FD = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2
// in double precision by symmetric eigensolves, with negative eigenvalues clipped: some pixels are
// constant, so the covariances are singular.  Values and pure functions; any thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "evaluators/diffusion/simd.hpp"

namespace paretod {

/// Mean [d] and covariance [d][d], divisor count - 1.
struct Moments {
  std::uint64_t count = 0;
  std::vector<double> mean;
  std::vector<double> covariance;
};

/// Sums over samples that moments are made of: mergeable by addition.
struct MomentSums {
  std::uint64_t count = 0;
  std::vector<double> sum;       // [d]
  std::vector<double> products;  // [stride][stride], upper triangle; stride >= d
  std::size_t stride = 0;
};

/// Sums of the same features over other samples.
void merge(const MomentSums& more, MomentSums& sums);

/// Requires count >= 2.
Moments moments_of(const MomentSums& sums);

/// Adds up rows [row, row + 4) of feature tiles [tiles][sums.stride][tile_lanes] into `sums`, whose
/// vectors have their full size; row is a multiple of 4.  Strips may be computed by different
/// threads.
void sum_strip(const SimdKernels& kernels, const float* features, std::size_t tiles,
               std::size_t row, MomentSums& sums);

class FrechetDistance {
 public:
  /// From this reference to whatever is asked.
  explicit FrechetDistance(const Moments& reference);

  [[nodiscard]] double to(const Moments& sample) const;

  /// The distance and its first-order change with the sample's distribution: one sample x moves it
  /// by (gradient . (x - m) + (x - m)' curvature (x - m)) / count, up to a constant.  The variance
  /// of that influence is the delta method's variance of the distance.
  struct Expansion {
    double distance;
    std::vector<double> gradient;   // [d]
    std::vector<double> curvature;  // [d][d], symmetric
  };
  [[nodiscard]] Expansion expand(const Moments& sample) const;

  /// The same distance straight from samples [n][d], n >= 2, by an n x n symmetric problem: what
  /// fewer samples than features are cheaper by, since with A their centred features over
  /// sqrt(n - 1), tr (S1 S2)^1/2 is the sum of the roots of the eigenvalues of A S1 A'.
  struct SampleExpansion {
    double distance;
    std::vector<double> influence;  // [n]: what Expansion says of each, times count
  };
  [[nodiscard]] SampleExpansion expand(std::span<const double> samples) const;

 private:
  std::size_t dimension_;
  std::vector<double> mean_;
  std::vector<double> root_;  // S1^1/2
  double trace_;
};

}  // namespace paretod
