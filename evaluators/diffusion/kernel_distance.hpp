#pragma once
// The kernel distance (KID: Binkowski et al. 2018, section 4): the unbiased estimate of the squared
// maximum mean discrepancy under k(x, y) = (x . y / d + 1)^3, averaged over blocks of samples.
// Unlike the Frechet distance it is not biased by how few the samples are.  It is taken block by
// block, so that more samples add blocks and leave the others as they are.
//
// Labels are dealt out, not drawn, so that pairs of one label are rarer within a block than in the
// population (47 of 479, not a tenth), which alone would make good samples' distance negative.
// Hence pairs of equal and of different labels are averaged apart, and weighted as if drawn.
//
// Immutable; any thread, each with its own scratch.

#include <cstddef>
#include <span>
#include <vector>

#include "evaluators/diffusion/linear_layer.hpp"
#include "evaluators/diffusion/reference_images.hpp"
#include "evaluators/diffusion/simd.hpp"

namespace paretod {

/// Tiles of a block of samples.
inline constexpr std::size_t block_tiles = 10;
inline constexpr std::size_t block_samples = block_tiles * tile_lanes;

class KernelDistance {
 public:
  /// To these images, of which there are at least two; `dimension` of `rows` rows are features,
  /// the others are zero.  Samples have one of `labels` labels, each as often.
  KernelDistance(const ImageFeatures& reference, std::size_t dimension, std::size_t rows,
                 std::size_t labels, const SimdKernels& kernels);

  /// What one block contributes.
  struct Block {
    std::size_t samples = 0;
    double within = 0;   ///< mean of k over pairs of samples
    double between = 0;  ///< mean of k over pairs of a sample and a reference image
  };
  /// Of 1 to block_samples samples, in tiles [rows][tile_lanes], that have these labels; lanes
  /// beyond them are ignored.
  [[nodiscard]] Block block(const float* tiles, std::span<const double> labels) const;
  /// The mean of the blocks' estimates, weighted by their samples; blocks of one sample have none.
  /// Needs a block of two or more.
  [[nodiscard]] double value(std::span<const Block> blocks) const;

 private:
  std::size_t dimension_;
  std::size_t rows_;
  LinearLayer reference_;  // outputs: the dot products with every image
  std::size_t images_;
  double label_share_;  // of pairs with equal labels, among samples
  double within_reference_;
  const SimdKernels* kernels_;
};

}  // namespace paretod
