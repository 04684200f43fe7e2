#include "evaluators/diffusion/schedule_config.hpp"

#include <algorithm>
#include <utility>

#include "evaluators/diffusion/schedule_scorer.hpp"

namespace paretod {
namespace {

constexpr const char* parameter_name = "schedule";

std::string block_name(std::size_t block) {
  return "block-" + std::to_string(block);
}

/// The names of `wanted`, or all of `known` for the word "all".
std::vector<std::string> droppable_blocks(const std::vector<std::string>& wanted,
                                          const DenoiserShape& shape, Problems& problems) {
  std::vector<std::string> known;
  for (std::size_t b = 0; b < shape.blocks; ++b) known.push_back(block_name(b));
  if (wanted == std::vector<std::string>{"all"}) return known;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (std::find(known.begin(), known.end(), wanted[i]) == known.end()) {
      problems.push_back({"/droppable/" + std::to_string(i),
                          "the model has no block \"" + wanted[i] + "\"; it has " + known.front() +
                              " to " + known.back() + ", or say [\"all\"]"});
    }
  }
  return wanted;
}

}  // namespace

template <>
Fields<ScheduleConfig> describe() {
  return Fields<ScheduleConfig>()
      .add("model", &ScheduleConfig::model, "model.json of a denoiser", std::vector<std::string>{})
      .add("weights", &ScheduleConfig::weights,
           "which of the model's files, without .safetensors; default: its last EMA, else its "
           "newest checkpoint",
           std::vector<std::string>{})
      .add("least_steps", &ScheduleConfig::least_steps, "fewest network calls of a schedule", 1,
           10'000)
      .add("most_steps", &ScheduleConfig::most_steps, "most network calls of a schedule", 1, 10'000)
      .add("nodes", &ScheduleConfig::nodes,
           "where the calls are: at whole time steps from 0, or at real times in (0, 1], where 1 "
           "is the noisiest",
           {"whole", "real"})
      .add("solvers", &ScheduleConfig::solvers,
           "ddim, dpm-solver, plms; of several, each step chooses one")
      .add("droppable", &ScheduleConfig::droppable,
           "blocks that a step may leave out: block-0, block-1, ... or [\"all\"]; empty: none")
      .add("cost", &ScheduleConfig::cost,
           "the second objective, per image: network calls, blocks run in them, multiply-adds, or "
           "measured seconds of processor time",
           {"none", "calls", "blocks", "multiply_adds", "seconds"})
      .add("samples", &ScheduleConfig::samples,
           "images per evaluation, unless the candidate says more", 2,
           static_cast<double>(ScheduleScorer::most_samples))
      .add("noise_seed", &ScheduleConfig::noise_seed,
           "seed of the noise; evaluators with equal seeds give comparable scores", 0)
      .add("kid", &ScheduleConfig::kid, "measure the kernel distance too, as the metric \"kid\"")
      .add("cache_mb", &ScheduleConfig::cache_mb,
           "memory for what schedules had, so that more images extend it", 0, 1'000'000)
      .add("slots", &ScheduleConfig::slots,
           "evaluations accepted at once, half of them computed together; 0 chooses by the number "
           "of threads",
           0, 1024);
}

Result<Parameter> schedule_parameter(const ScheduleConfig& config, const ModelDescription& model) {
  Problems problems;
  Parameter schedule;
  schedule.name = parameter_name;
  schedule.type = ParameterType::schedule;
  const auto timesteps = static_cast<double>(model.timesteps);
  schedule.whole = config.nodes == "whole";
  schedule.low = schedule.whole ? 0 : 1 / timesteps;
  schedule.high = schedule.whole ? timesteps - 1 : 1;
  schedule.least = static_cast<std::size_t>(config.least_steps);
  schedule.most = static_cast<std::size_t>(config.most_steps);
  if (config.least_steps > config.most_steps) {
    problems.push_back({"/least_steps", "must not be above most_steps"});
  }
  if (schedule.most > model.timesteps) {
    problems.push_back(
        {"/most_steps", "the model has only " + std::to_string(model.timesteps) + " time steps"});
  }
  if (config.solvers.empty()) problems.push_back({"/solvers", "must name at least one"});
  for (std::size_t i = 0; i < config.solvers.size(); ++i) {
    const std::string at = "/solvers/" + std::to_string(i);
    if (!solver_named(config.solvers[i])) {
      problems.push_back({at, "must be one of ddim, dpm-solver, plms"});
    }
    const auto here = config.solvers.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::find(config.solvers.begin(), here, *here) != here) {
      problems.push_back({at, "is named twice"});
    }
  }
  if (config.solvers.size() > 1) schedule.choices = config.solvers;
  if (!config.droppable.empty()) {
    if (model.shape.blocks == 0) {
      problems.push_back({"/droppable", "the model has no blocks"});
    } else {
      schedule.mask = droppable_blocks(config.droppable, model.shape, problems);
    }
  }
  if (!problems.empty()) {
    return invalid("a diffusion-schedule evaluator cannot be set up so", std::move(problems));
  }
  // What is left: blocks named twice, schedules too long for a point.
  if (const auto space = SearchSpace::make({schedule}); !space) return space.error();
  return schedule;
}

Result<std::vector<ScheduleNode>> schedule_nodes(const SearchSpace& space, const Point& point,
                                                 const ScheduleConfig& config,
                                                 const ModelDescription& model) {
  std::size_t index = 0;
  while (space.parameters()[index].name != parameter_name) ++index;
  const Parameter& schedule = space.parameters()[index];
  const double* at = point.data() + space.offset(index);
  const auto count = static_cast<std::size_t>(*at++);
  std::vector<ScheduleNode> nodes;
  for (std::size_t s = 0; s < count; ++s) {
    ScheduleNode node;
    const double place = *at++;
    const auto timesteps = static_cast<double>(model.timesteps);
    node.time = schedule.whole ? place : std::max(0.0, timesteps * place - 1);
    if (!(node.time >= 0 && node.time <= timesteps - 1)) {
      return invalid("step " + std::to_string(s) + " lies outside the " +
                     std::to_string(model.timesteps) + " time steps of the model");
    }
    const std::string& solver = schedule.choices.empty()
                                    ? config.solvers.front()
                                    : schedule.choices[static_cast<std::size_t>(*at++)];
    node.solver = solver_named(solver).value();
    if (!schedule.mask.empty()) node.dropped.resize(model.shape.blocks);
    for (const std::string& name : schedule.mask) {
      const bool drop = *at++ != 0;
      for (std::size_t b = 0; drop && b < model.shape.blocks; ++b) {
        if (block_name(b) == name) node.dropped[b] = 1;
      }
    }
    nodes.push_back(std::move(node));
  }
  return nodes;
}

}  // namespace paretod
