#pragma once
// How a sample travels from noise to image along a schedule of network calls: what each call is
// asked (its time, the blocks left out), and what is made of the answer.  Every solver takes one
// call per node and ends clean after the last, so that a schedule of K nodes costs K calls
// whichever it is.
//
// With a = sqrt(alpha_bar), s = sqrt(1 - alpha_bar) at the node, a', s' at the next (1 and 0 after
// the last), the prediction v gives an image x0 = clip(a x - s v, -1, 1) and a noise
// e = (x - a x0) / s, and the step is
//   ddim        x' = a' x0 + s' e                (Song et al. 2021, equation 12, eta = 0)
//   dpm-solver  x' = (s'/s) x + (a' - s' a/s) D,  D = x0 + (x0 - x0_before) / (2 r)
//               r = (l - l_before) / (l' - l), l = log(a/s)
//               (DPM-Solver++(2M): Lu et al. 2022, arXiv 2211.01095, algorithm 2)
//   plms        x' = a' clip((x - s E)/a, -1, 1) + s' E, E the Adams-Bashforth combination of e and
//               up to three before it (Liu et al. 2022, arXiv 2202.09778, equation 12)
// Where there is no earlier prediction, and for dpm-solver in the last step (l' is infinite), they
// are of lower order; of first order all three are ddim.  The original PLMS spends a second call
// on its first step instead.
//
// Values and pure functions; any thread, each with its own scratch.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/diffusion/denoiser.hpp"

namespace paretod {

enum class Solver { ddim, dpm_solver, plms };

std::string_view name_of(Solver solver);
std::optional<Solver> solver_named(std::string_view name);
/// As configurations write them.
std::vector<std::string> solver_names();

/// One network call of a schedule.
struct ScheduleNode {
  double time = 0;  ///< of the network: 0 .. timesteps - 1, whole or not
  Solver solver = Solver::ddim;
  std::vector<std::uint8_t> dropped = {};  ///< one flag per block; empty: none
};

/// A node, ready to be run.
struct SolverStep {
  double time;
  std::vector<std::uint8_t> dropped;
  DdimCoefficients coefficients;
  Solver solver;
  /// How many predictions it combines: its own, then those of the steps before.
  std::size_t order;
  std::array<float, 4> weights;  ///< of them: of images for dpm-solver, of noises for plms
  bool kept;                     ///< a later step combines this one's prediction
};

/// The steps of distinct nodes in any order, noisiest first.
std::vector<SolverStep> solver_steps(const std::vector<double>& alpha_bar,
                                     std::vector<ScheduleNode> nodes);

/// Classifier-free guidance (Ho and Salimans 2022): v = v_none + scale (v_class - v_none).  At a
/// given x this is the same combination of the noises, which the paper writes.
struct Guidance {
  double scale = 1;  ///< 1: none, and one pass per call instead of two
  std::size_t null_class = 0;
  [[nodiscard]] std::size_t passes() const { return scale == 1 ? 1 : 2; }
};

/// A denoiser with a schedule: samples images.
class ScheduleSampler {
 public:
  /// Keeps a reference to the denoiser.
  ScheduleSampler(const Denoiser& denoiser, const DenoiserShape& shape,
                  std::vector<SolverStep> steps, const Guidance& guidance,
                  const SimdKernels& kernels);

  /// Working memory of one thread.
  struct Scratch {
    explicit Scratch(const DenoiserShape& shape);
    Denoiser::Scratch denoiser;
    AlignedVector<float> velocity, unguided;
    std::array<AlignedVector<float>, 4> images, noises;  ///< predicted at step i: i mod 4
  };

  /// From noise to images, in place: [pixels][tile_lanes]; labels [tile_lanes].  False when a
  /// prediction was not finite.
  bool sample(float* x, const std::size_t* labels, Scratch& scratch) const;

  [[nodiscard]] const std::vector<SolverStep>& steps() const { return steps_; }

 private:
  void predict(std::size_t step, const float* x, const std::size_t* labels, Scratch& scratch) const;
  bool advance(std::size_t step, float* x, Scratch& scratch) const;

  const Denoiser* denoiser_;
  DenoiserShape shape_;
  std::vector<SolverStep> steps_;
  std::vector<std::vector<float>> conditions_;  // per step
  Guidance guidance_;
  const SimdKernels* kernels_;
};

}  // namespace paretod
