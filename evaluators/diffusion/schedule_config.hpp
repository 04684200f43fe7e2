#pragma once
// How a schedule evaluator is configured, the search space that this declares for a model, and what
// a point of that space means.  Pure functions; any thread.

#include <cstdint>
#include <string>
#include <vector>

#include "evaluators/diffusion/model_description.hpp"
#include "evaluators/diffusion/solver.hpp"
#include "optimizers/core/params.hpp"
#include "optimizers/core/result.hpp"
#include "optimizers/core/space.hpp"

namespace paretod {

/// The configuration block of one schedule evaluator.
struct ScheduleConfig {
  std::string model;
  std::string weights;
  std::int64_t least_steps = 1;
  std::int64_t most_steps = 10;
  std::string nodes = "whole";
  std::vector<std::string> solvers = {"ddim"};
  std::vector<std::string> droppable;
  std::string cost = "none";
  std::int64_t samples = 2000;
  std::int64_t noise_seed = 0;
  bool kid = true;
  std::int64_t cache_mb = 256;
  std::int64_t slots = 0;
};

template <>
Fields<ScheduleConfig> describe();

/// The space that a configuration declares for a model; problems point into the configuration.
Result<Parameter> schedule_parameter(const ScheduleConfig& config, const ModelDescription& model);

/// The network calls that a point of a space with a parameter "schedule" (the declared one, maybe
/// narrowed) stands for.
Result<std::vector<ScheduleNode>> schedule_nodes(const SearchSpace& space, const Point& point,
                                                 const ScheduleConfig& config,
                                                 const ModelDescription& model);

}  // namespace paretod
