#include "evaluators/diffusion/solver.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace paretod {
namespace {

constexpr std::size_t history = 4;  // of predictions

constexpr std::array<std::pair<Solver, std::string_view>, 3> names = {
    {{Solver::ddim, "ddim"}, {Solver::dpm_solver, "dpm-solver"}, {Solver::plms, "plms"}}};

/// Adams-Bashforth coefficients of orders 1 to 4, newest first.
constexpr std::array<std::array<float, history>, history> adams_bashforth = {
    {{1, 0, 0, 0},
     {3.0F / 2, -1.0F / 2, 0, 0},
     {23.0F / 12, -16.0F / 12, 5.0F / 12, 0},
     {55.0F / 24, -59.0F / 24, 37.0F / 24, -9.0F / 24}}};

/// log(a / s): half the logarithm of the signal-to-noise ratio.
double half_log_snr(double alpha_bar) {
  return (std::log(alpha_bar) - std::log1p(-alpha_bar)) / 2;
}

/// Of the newest prediction and the one before it, in the data prediction of second order.
std::array<float, history> extrapolation(double before, double now, double next) {
  const double half_ratio =
      (half_log_snr(next) - half_log_snr(now)) / (half_log_snr(now) - half_log_snr(before)) / 2;
  return {static_cast<float>(1 + half_ratio), static_cast<float>(-half_ratio), 0, 0};
}

}  // namespace

std::string_view name_of(Solver solver) {
  return std::find_if(names.begin(), names.end(),
                      [solver](const auto& entry) { return entry.first == solver; })
      ->second;
}

std::optional<Solver> solver_named(std::string_view name) {
  for (const auto& [solver, known] : names) {
    if (known == name) return solver;
  }
  return std::nullopt;
}

std::vector<std::string> solver_names() {
  std::vector<std::string> all;
  for (const auto& [solver, name] : names) all.emplace_back(name);
  return all;
}

std::vector<SolverStep> solver_steps(const std::vector<double>& alpha_bar,
                                     std::vector<ScheduleNode> nodes) {
  std::sort(nodes.begin(), nodes.end(),
            [](const ScheduleNode& a, const ScheduleNode& b) { return a.time > b.time; });
  std::vector<double> signals;
  for (const ScheduleNode& node : nodes) signals.push_back(alpha_bar_at(alpha_bar, node.time));
  std::vector<SolverStep> steps;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const bool last = i + 1 == nodes.size();
    const double now = signals[i];
    const double next = last ? 1.0 : signals[i + 1];
    SolverStep step;
    step.time = nodes[i].time;
    step.dropped = std::move(nodes[i].dropped);
    step.coefficients = {static_cast<float>(std::sqrt(now)), static_cast<float>(std::sqrt(1 - now)),
                         static_cast<float>(std::sqrt(next)),
                         static_cast<float>(std::sqrt(1 - next))};
    step.solver = nodes[i].solver;
    step.order = 1;
    step.weights = adams_bashforth[0];
    step.kept = false;
    if (step.solver == Solver::plms) {
      step.order = std::min(i + 1, history);
      step.weights = adams_bashforth[step.order - 1];
    } else if (step.solver == Solver::dpm_solver && i > 0 && !last) {
      step.order = 2;
      step.weights = extrapolation(signals[i - 1], now, next);
    }
    for (std::size_t back = 1; back < step.order; ++back) steps[i - back].kept = true;
    steps.push_back(std::move(step));
  }
  return steps;
}

ScheduleSampler::ScheduleSampler(const Denoiser& denoiser, const DenoiserShape& shape,
                                 std::vector<SolverStep> steps, const Guidance& guidance,
                                 const SimdKernels& kernels)
    : denoiser_(&denoiser),
      shape_(shape),
      steps_(std::move(steps)),
      guidance_(guidance),
      kernels_(&kernels) {
  for (const SolverStep& step : steps_) conditions_.push_back(denoiser.conditions(step.time));
}

ScheduleSampler::Scratch::Scratch(const DenoiserShape& shape)
    : denoiser(shape),
      velocity(padded_rows(shape.pixels) * tile_lanes),
      unguided(padded_rows(shape.pixels) * tile_lanes) {
  for (auto* predictions : {&images, &noises}) {
    for (AlignedVector<float>& prediction : *predictions) {
      prediction.resize(shape.pixels * tile_lanes);
    }
  }
}

void ScheduleSampler::predict(std::size_t step, const float* x, const std::size_t* labels,
                              Scratch& scratch) const {
  const std::vector<float>& conditions = conditions_[step];
  const std::vector<std::uint8_t>& dropped = steps_[step].dropped;
  float* velocity = scratch.velocity.data();
  denoiser_->predict(conditions.data(), dropped, x, labels, velocity, scratch.denoiser);
  if (guidance_.passes() == 1) return;
  std::array<std::size_t, tile_lanes> none;
  none.fill(guidance_.null_class);
  float* unguided = scratch.unguided.data();
  denoiser_->predict(conditions.data(), dropped, x, none.data(), unguided, scratch.denoiser);
  const auto scale = static_cast<float>(guidance_.scale);
  for (std::size_t i = 0; i < shape_.pixels * tile_lanes; ++i) {
    velocity[i] = unguided[i] + scale * (velocity[i] - unguided[i]);
  }
}

bool ScheduleSampler::advance(std::size_t index, float* x, Scratch& scratch) const {
  const SolverStep& step = steps_[index];
  const DdimCoefficients& c = step.coefficients;
  const float* velocity = scratch.velocity.data();
  const std::size_t size = shape_.pixels * tile_lanes;
  float* image = scratch.images[index % history].data();
  float* noise = scratch.noises[index % history].data();
  if (step.kept || step.order > 1) {
    for (std::size_t i = 0; i < size; ++i) {
      image[i] = std::clamp(c.signal * x[i] - c.noise * velocity[i], -1.0F, 1.0F);
      noise[i] = (x[i] - c.signal * image[i]) / c.noise;
    }
  }
  if (step.order == 1) return kernels_->ddim_update(x, velocity, shape_.pixels, c);

  float poison = 0;  // becomes NaN with the first value that is not finite
  for (std::size_t i = 0; i < size; ++i) poison += velocity[i] - velocity[i];
  if (!(poison == 0)) return false;

  const auto& predictions = step.solver == Solver::plms ? scratch.noises : scratch.images;
  float* combined = scratch.unguided.data();  // free once the velocity is known
  std::fill(combined, combined + size, 0.0F);
  for (std::size_t back = 0; back < step.order; ++back) {
    const float* prediction = predictions[(index - back) % history].data();
    for (std::size_t i = 0; i < size; ++i) combined[i] += step.weights[back] * prediction[i];
  }
  if (step.solver == Solver::plms) {
    for (std::size_t i = 0; i < size; ++i) {
      const float moved = std::clamp((x[i] - c.noise * combined[i]) / c.signal, -1.0F, 1.0F);
      x[i] = c.next_signal * moved + c.next_noise * combined[i];
    }
  } else {
    const float stay = c.next_noise / c.noise;
    const float towards = c.next_signal - stay * c.signal;
    for (std::size_t i = 0; i < size; ++i) x[i] = stay * x[i] + towards * combined[i];
  }
  return true;
}

bool ScheduleSampler::sample(float* x, const std::size_t* labels, Scratch& scratch) const {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    predict(i, x, labels, scratch);
    if (!advance(i, x, scratch)) return false;
  }
  return true;
}

}  // namespace paretod
