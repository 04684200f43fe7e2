#pragma once
// What the host tells the kernels that sample with denoisers (kernels/denoise.cuh).  Plain data,
// for host and device code.  Matrices are row-major with a sample per row; every candidate of a
// batch has its own, `stride` numbers apart.

#include <cstddef>
#include <cstdint>

namespace paretod::cuda {

/// Predictions that a solver can look back at (evaluators/diffusion/solver.hpp).
inline constexpr unsigned solver_history = 4;

/// One step of one candidate.
struct StepTable {
  double time;
  float signal, noise, next_signal, next_noise;
  float weights[solver_history];
  std::uint32_t order;
  std::uint8_t active;  ///< 0: the candidate has fewer steps
  std::uint8_t kept;
  std::uint8_t combines_noise;  ///< plms; otherwise of order above 1 dpm-solver
  std::uint8_t unused;
};

/// A matrix per candidate.
struct Matrices {
  float* data;
  std::size_t stride;  ///< from candidate to candidate; 0: all share one
  std::uint32_t row;   ///< from row to row
};

/// Whether a candidate takes part in a launch: unless flags[candidate * stride + offset] is set.
struct Skip {
  const std::uint8_t* flags;  ///< null: all take part
  std::size_t stride;
  std::size_t offset;
};

enum class Apply : std::uint8_t { store, add, silu, tanh };

/// output = apply(W input + b) with W [outputs][inputs].
struct LinearTable {
  Matrices input;
  const float* weights;
  const float* bias;
  std::size_t weight_stride;  ///< from candidate to candidate, of both
  Matrices output;
  std::uint32_t inputs;
  std::uint32_t outputs;
  const std::uint32_t* samples;  ///< per candidate: rows
  Skip skip;
};

/// output = LN(input) (+ condition of the row's label).
struct NormalizeTable {
  Matrices input;
  const float* scale;
  const float* shift;
  std::size_t weight_stride;
  const float* conditions;       ///< [class][width]; null: none
  std::size_t condition_stride;  ///< from candidate to candidate
  std::uint32_t labels;          ///< labels are dealt out in turn ...
  std::uint32_t null_class;      ///< ... without this one
  Matrices output;
  std::uint32_t width;
  const std::uint32_t* samples;
  Skip skip;
};

struct ConditionTable {
  const float* weights;  ///< of a candidate: t1.w t1.b t2.w t2.b cls
  std::size_t weight_stride;
  const double* frequencies;  ///< [width / 2]
  const StepTable* steps;     ///< [candidate][step_stride]
  std::uint32_t step_stride;
  std::uint32_t width;
  std::uint32_t classes;
  float* conditions;  ///< [candidate][step_stride][class][width]
};

struct StartTable {
  const float* const* noise;  ///< per candidate: tiles as NoiseBlock has them
  Matrices images;
  std::uint32_t pixels;
  const std::uint32_t* samples;
};

struct AdvanceTable {
  Matrices images;
  Matrices velocity;
  const StepTable* steps;
  std::uint32_t step_stride;
  std::uint32_t step;
  float* predicted_images;  ///< [candidate][solver_history][rows][pixels]; null: no step looks back
  float* predicted_noises;
  std::size_t history_stride;  ///< from prediction to prediction
  std::uint32_t pixels;
  const std::uint32_t* samples;
  std::uint32_t* overflowed;  ///< per candidate: set when a prediction is not finite
};

/// Completes rows of features: weighted pixels, then a one.
struct PixelTable {
  Matrices images;
  Matrices features;
  std::uint32_t first;  ///< column of the first pixel
  std::uint32_t pixels;
  float weight;
  const std::uint32_t* samples;
};

struct MomentTable {
  Matrices features;
  std::uint32_t columns;
  std::uint32_t chunk;  ///< rows that one partial sum is over
  std::uint32_t chunks;
  double* partial;   ///< [candidate][chunks][columns][columns]: upper triangles
  double* products;  ///< [candidate][columns][columns]
  const std::uint32_t* samples;
};

/// influence[i] = c . (g + C c), c = features[i] - mean.
struct InfluenceTable {
  Matrices features;
  std::uint32_t dimension;
  const float* mean;       ///< [candidate][dimension]
  const float* gradient;   ///< [candidate][dimension]
  const float* curvature;  ///< [candidate][dimension][dimension], symmetric
  float* influence;        ///< [candidate][stride]
  std::size_t influence_stride;
  const std::uint32_t* samples;
};

}  // namespace paretod::cuda
