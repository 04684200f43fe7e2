#pragma once
// The standard error of a Frechet distance over the noise of its samples, without drawing any
// again: the infinitesimal jackknife (Efron 1982, chapter 6), which the bootstrap tends to.  One
// sample's influence is what FrechetDistance::Expansion says of it; the error is the spread of the
// influences.  Pure functions.

#include <cstddef>
#include <span>

#include "evaluators/diffusion/frechet.hpp"
#include "evaluators/diffusion/linear_layer.hpp"
#include "evaluators/diffusion/simd.hpp"

namespace paretod {

/// An expansion as a layer: curvature x + gradient.
LinearLayer influence_layer(const FrechetDistance::Expansion& expansion);

/// influence[i] of the first `samples` lanes of a tile of features [rows][tile_lanes]; `centred`
/// and `change` are scratch tiles of as many (padded) rows.
void influence_of_tile(const SimdKernels& kernels, const LinearLayer& layer, const Moments& moments,
                       const float* features, std::size_t samples, float* influence, float* centred,
                       float* change);

/// Labels are dealt out in turn, not drawn, so only the spread within each label is noise: sample i
/// has label i mod `labels`.  Needs two samples or more.
double stratified_error(std::span<const float> influence, std::size_t labels);

}  // namespace paretod
