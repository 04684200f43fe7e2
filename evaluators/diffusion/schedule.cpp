#include "evaluators/diffusion/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

namespace paretod {

std::vector<double> cosine_alpha_bar(std::size_t timesteps) {
  const auto signal = [timesteps](std::size_t i) {
    const double progress = static_cast<double>(i) / static_cast<double>(timesteps);
    const double root = std::cos((progress + 0.008) / 1.008 * std::numbers::pi / 2);
    return root * root;
  };
  std::vector<double> alpha_bar(timesteps);
  double product = 1;
  for (std::size_t t = 0; t < timesteps; ++t) {
    product *= 1 - std::clamp(1 - signal(t + 1) / signal(t), 0.0, 0.999);
    alpha_bar[t] = product;
  }
  return alpha_bar;
}

double alpha_bar_at(const std::vector<double>& alpha_bar, double time) {
  const double below = std::floor(time);
  const auto index = static_cast<std::size_t>(below);
  if (time == below) return alpha_bar[index];
  return std::exp(
      std::lerp(std::log(alpha_bar[index]), std::log(alpha_bar[index + 1]), time - below));
}

std::vector<std::size_t> uniform_times(std::size_t timesteps, std::size_t count) {
  std::vector<std::size_t> times(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double at = static_cast<double>((i + 1) * timesteps) / static_cast<double>(count);
    times[i] = static_cast<std::size_t>(std::nearbyint(at)) - 1;
  }
  return times;
}

std::vector<DdimStep> ddim_steps(const std::vector<double>& alpha_bar,
                                 std::vector<std::size_t> times) {
  std::sort(times.begin(), times.end(), std::greater<>());
  std::vector<DdimStep> steps;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double now = alpha_bar[times[i]];
    const double next = i + 1 < times.size() ? alpha_bar[times[i + 1]] : 1.0;
    steps.push_back(
        {times[i],
         {static_cast<float>(std::sqrt(now)), static_cast<float>(std::sqrt(1 - now)),
          static_cast<float>(std::sqrt(next)), static_cast<float>(std::sqrt(1 - next))}});
  }
  return steps;
}

}  // namespace paretod
