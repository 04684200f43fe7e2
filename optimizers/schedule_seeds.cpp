#include "optimizers/schedule_seeds.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <utility>

#include "optimizers/core/space.hpp"

namespace paretod {
namespace {

constexpr std::size_t training_steps = 1000;

std::vector<double> alpha_bars_of(const std::function<double(std::size_t)>& beta) {
  std::vector<double> made;
  double product = 1;
  for (std::size_t t = 0; t < training_steps; ++t) made.push_back(product *= 1 - beta(t));
  return made;
}

/// Places that nodes can take: for real nodes as many as training usually has.
double places(const Parameter& schedule) {
  return schedule.whole ? schedule.high - schedule.low + 1 : static_cast<double>(training_steps);
}

/// From positions on a scale of 0 to places - 1 to valid nodes.
std::vector<double> nodes_at(const Parameter& schedule, std::vector<double> positions) {
  Parameter plain = schedule;
  plain.choices.clear();
  plain.mask.clear();
  plain.least = plain.most = positions.size();
  std::vector<double> block{static_cast<double>(positions.size())};
  for (const double position : positions) {
    block.push_back(schedule.low +
                    (schedule.high - schedule.low) * position / (places(schedule) - 1));
  }
  repair_block(plain, coordinates_of(plain), block);
  block.erase(block.begin());
  return block;
}

}  // namespace

std::vector<double> linear_alpha_bars() {
  return alpha_bars_of([](std::size_t t) {
    return 1e-4 + (0.02 - 1e-4) * static_cast<double>(t) / (training_steps - 1);
  });
}

std::vector<double> cosine_alpha_bars() {
  const auto signal = [](std::size_t step) {
    constexpr double offset = 0.008;
    const double fraction = static_cast<double>(step) / training_steps;
    return std::pow(std::cos((fraction + offset) / (1 + offset) * std::numbers::pi / 2), 2);
  };
  return alpha_bars_of([&](std::size_t t) { return std::min(0.999, 1 - signal(t + 1) / signal(t)); });
}

std::vector<double> uniform_nodes(const Parameter& schedule, std::size_t count) {
  std::vector<double> positions;
  const double stride = places(schedule) / static_cast<double>(count);
  for (std::size_t i = 1; i <= count; ++i) {
    positions.push_back(std::nearbyint(static_cast<double>(i) * stride) - 1);
  }
  return nodes_at(schedule, std::move(positions));
}

std::vector<double> leading_nodes(const Parameter& schedule, std::size_t count) {
  std::vector<double> positions;
  const double stride = places(schedule) / static_cast<double>(count);
  for (std::size_t i = 0; i < count; ++i) {
    positions.push_back(std::floor(static_cast<double>(i) * stride));
  }
  return nodes_at(schedule, std::move(positions));
}

std::vector<double> quadratic_nodes(const Parameter& schedule, std::size_t count) {
  std::vector<double> positions;
  const double last = std::sqrt(0.8 * places(schedule));
  for (std::size_t i = 0; i < count; ++i) {
    const double root =
        count == 1 ? last : last * static_cast<double>(i) / static_cast<double>(count - 1);
    positions.push_back(std::floor(root * root));
  }
  return nodes_at(schedule, std::move(positions));
}

std::vector<double> log_snr_nodes(const Parameter& schedule, std::size_t count,
                                  const std::vector<double>& alpha_bars) {
  std::vector<double> log_snr;
  for (const double a : alpha_bars) log_snr.push_back(std::log(a / (1 - a)));
  std::vector<double> positions;
  const double range = log_snr.front() - log_snr.back();
  const double scale = (places(schedule) - 1) / static_cast<double>(log_snr.size() - 1);
  for (std::size_t i = 0; i < count; ++i) {
    const double wanted =
        log_snr.front() - range * (static_cast<double>(i) + 0.5) / static_cast<double>(count);
    const auto after = std::find_if(log_snr.begin() + 1, log_snr.end() - 1,
                                    [&](double value) { return value <= wanted; });
    const double share = (*(after - 1) - wanted) / (*(after - 1) - *after);
    positions.push_back(scale * (static_cast<double>(after - log_snr.begin() - 1) + share));
  }
  return nodes_at(schedule, std::move(positions));
}

std::vector<ScheduleSeed> schedule_seeds(const Parameter& schedule, std::size_t count,
                                         const std::vector<std::vector<double>>& alpha_bars) {
  std::vector<ScheduleSeed> seeds;
  const auto add = [&](std::string name, std::vector<double> nodes) {
    for (const ScheduleSeed& seed : seeds) {
      if (seed.nodes == nodes) return;
    }
    seeds.push_back({std::move(name), std::move(nodes)});
  };
  add("uniform", uniform_nodes(schedule, count));
  add("quadratic", quadratic_nodes(schedule, count));
  for (std::size_t i = 0; i < alpha_bars.size(); ++i) {
    add(i == 0 ? "log-snr" : "log-snr " + std::to_string(i + 1),
        log_snr_nodes(schedule, count, alpha_bars[i]));
  }
  add("leading", leading_nodes(schedule, count));
  return seeds;
}

}  // namespace paretod
