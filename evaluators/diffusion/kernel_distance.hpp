#pragma once
// The kernel distance (KID: Binkowski et al. 2018, section 4): the unbiased estimate of the squared
// maximum mean discrepancy under k(x, y) = (x . y / d + 1)^3, averaged over blocks of samples.
// Unlike the Frechet distance it is not biased by how few the samples are.  It is taken block by
// block, so that more samples add blocks and leave the others as they are; a block of 480 holds
// each of 10 labels equally often.
//
// Immutable; any thread, each with its own scratch.

#include <cstddef>
#include <span>

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
  /// the others are zero.
  KernelDistance(const ImageFeatures& reference, std::size_t dimension, std::size_t rows,
                 const SimdKernels& kernels);

  /// What one block contributes.
  struct Block {
    std::size_t samples = 0;
    double within = 0;   ///< mean of k over ordered pairs of different samples
    double between = 0;  ///< mean of k over pairs of a sample and a reference image
  };
  /// Of `samples` in [1, block_samples], in tiles [rows][tile_lanes]; lanes beyond them are ignored.
  [[nodiscard]] Block block(const float* tiles, std::size_t samples) const;
  /// The mean of the blocks' estimates, weighted by their samples; blocks of one sample have none.
  /// Needs a block of two or more.
  [[nodiscard]] double value(std::span<const Block> blocks) const;

 private:
  std::size_t dimension_;
  std::size_t rows_;
  LinearLayer reference_;  // outputs: the dot products with every image
  std::size_t images_;
  double within_reference_;
  const SimdKernels* kernels_;
};

}  // namespace paretod
