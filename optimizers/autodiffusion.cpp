#include "optimizers/autodiffusion.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "optimizers/autodiffusion_front.hpp"
#include "optimizers/autodiffusion_paper.hpp"
#include "optimizers/schedule_seeds.hpp"

namespace paretod {
namespace {

const std::string at_params = "/optimizer/params/";

std::string text_of(double number) {
  std::ostringstream text;
  text << number;
  return text.str();
}

/// Where the schedule is, if the space has one that can be searched.
std::optional<std::size_t> check_space(const SearchProblem& problem, Problems& problems) {
  std::vector<std::size_t> schedules;
  const auto& parameters = problem.space.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].type == ParameterType::schedule) schedules.push_back(i);
  }
  if (schedules.size() != 1) {
    problems.push_back({"/space",
                        "autodiffusion needs exactly one parameter of type schedule, the time "
                        "steps; there are " +
                            std::to_string(schedules.size())});
    return std::nullopt;
  }
  if (parameters[schedules.front()].when) {
    problems.push_back({"/space/" + std::to_string(schedules.front()) + "/when",
                        "the schedule that autodiffusion searches cannot have a condition"});
    return std::nullopt;
  }
  return schedules.front();
}

void check_costs(const Parameter& schedule, const AutoDiffusionParams& params,
                 Problems& problems) {
  const auto check_count = [&](const std::string& field, std::size_t given, std::size_t wanted,
                               const std::string& what) {
    if (given == 0 || given == wanted) return;
    problems.push_back({at_params + field, "has " + std::to_string(given) + " costs, but \"" +
                                               schedule.name + "\" has " + std::to_string(wanted) +
                                               " " + what});
  };
  check_count("layer_costs", params.layer_costs.size(), schedule.mask.size(),
              "layers in its mask");
  check_count("choice_costs", params.choice_costs.size(), schedule.choices.size(), "choices");
  for (const auto& [field, costs] : {std::pair{"layer_costs", &params.layer_costs},
                                     std::pair{"choice_costs", &params.choice_costs}}) {
    const auto zero = std::find(costs->begin(), costs->end(), 0.0);
    if (zero == costs->end()) continue;
    problems.push_back({at_params + field + "/" + std::to_string(zero - costs->begin()),
                        "must be greater than 0"});
  }
  if (params.max_cost <= 0 || !problems.empty()) return;
  // Paper mode drops no more than max_prune of the layers.
  const ScheduleCosts costs = schedule_costs(schedule, params);
  const bool paper = params.mode == "paper";
  const double least = static_cast<double>(schedule.least) *
                       (paper ? costs.full_step() : costs.least_step());
  if (least > params.max_cost) {
    problems.push_back({at_params + "max_cost",
                        std::to_string(schedule.least) + " steps, the fewest that \"" +
                            schedule.name + "\" allows, cost at least " + text_of(least) +
                            (paper ? " before layers are dropped" : "") +
                            ": raise max_cost, or allow fewer steps"});
  }
}

void check_noise_schedule(const Parameter& schedule, std::size_t parameter,
                          const AutoDiffusionParams& params, Problems& problems) {
  const std::vector<double>& given = params.alpha_bars;
  if (given.empty()) return;
  const std::string field = at_params + "alpha_bars";
  if (given.size() < 2) {
    problems.push_back({field, "needs one value per training step, at least 2"});
    return;
  }
  for (std::size_t t = 0; t < given.size(); ++t) {
    if (given[t] > 0 && given[t] < 1 && (t == 0 || given[t] < given[t - 1])) continue;
    problems.push_back({field + "/" + std::to_string(t),
                        "the alpha-bars must lie between 0 and 1 and decrease"});
    return;
  }
  const auto steps = static_cast<double>(given.size());
  if (schedule.whole && (schedule.low < 0 || schedule.high >= steps)) {
    problems.push_back({"/space/" + std::to_string(parameter) +
                            (schedule.low < 0 ? "/low" : "/high"),
                        "steps run from " + text_of(schedule.low) + " to " +
                            text_of(schedule.high) + ", but alpha_bars has only steps 0 to " +
                            text_of(steps - 1)});
  }
}

void check_rungs(const AutoDiffusionParams& params, Problems& problems) {
  const std::string field = at_params + "rungs";
  for (std::size_t r = 0; r < params.rungs.size(); ++r) {
    const double n = params.rungs[r];
    if (n >= 1 && n == std::floor(n) && (r == 0 || n > params.rungs[r - 1])) continue;
    problems.push_back({field + "/" + std::to_string(r),
                        "rungs must be whole numbers of samples, at least 1 and increasing"});
    return;
  }
  if (params.rungs.empty()) return;
  if (params.fidelity > 0) {
    problems.push_back({at_params + "fidelity", "is what rungs already say; give one of them"});
  }
  if (params.mode == "paper") {
    problems.push_back({field, "mode \"paper\" evaluates everything alike; use fidelity"});
  }
}

void check_initial(const SearchProblem& problem, std::size_t parameter,
                   const AutoDiffusionParams& params, Problems& problems) {
  const ScheduleCoding coding(problem.space, parameter);
  const ScheduleCosts costs = schedule_costs(coding.parameter(), params);
  for (std::size_t i = 0; i < problem.initial.size(); ++i) {
    const Steps steps = coding.decode(problem.initial[i]);
    if (costs.allows(steps)) continue;
    problems.push_back({"/initial/" + std::to_string(i) + "/" + coding.parameter().name,
                        "costs " + text_of(costs.of(steps)) + ", more than max_cost " +
                            text_of(costs.most)});
  }
}

Problems check_autodiffusion(const SearchProblem& problem, const AutoDiffusionParams& params) {
  Problems problems;
  const std::optional<std::size_t> parameter = check_space(problem, problems);
  if (parameter) {
    const Parameter& schedule = problem.space.parameters()[*parameter];
    check_costs(schedule, params, problems);
    check_noise_schedule(schedule, *parameter, params, problems);
    if (problems.empty()) check_initial(problem, *parameter, params, problems);
  }
  check_rungs(params, problems);
  if (problem.objectives.size() > 4) {
    problems.push_back({"/objectives",
                        "crowding does not spread a front of more than 4 objectives; use "
                        "\"nsga3\""});
  }
  if (params.mode == "paper" && problem.objectives.size() != 1) {
    problems.push_back({"/objectives", "mode \"paper\" searches for one objective; use \"front\""});
  }
  if (params.population > 0 && params.population < 4) {
    problems.push_back({at_params + "population", "must be 0 or at least 4"});
  }
  if (params.mode == "paper" && params.min_prune > params.max_prune) {
    problems.push_back({at_params + "min_prune", "must not be greater than max_prune"});
  }
  if (problem.noise.active()) {
    problems.push_back({"/noise",
                        "autodiffusion compares on equal noise and evaluates its leaders on "
                        "further replicates itself (elite_replicates); leave noise out"});
  }
  constexpr std::uint64_t least_trials = 10;
  if (problem.trials > 0 && problem.trials < least_trials) {
    problems.push_back({"/budget/trials", "autodiffusion needs at least " +
                                              std::to_string(least_trials) + " trials"});
  }
  return problems;
}

Report run_autodiffusion(const SearchProblem& problem, const AutoDiffusionParams& params,
                         Evaluations& evaluations) {
  return params.mode == "paper" ? run_autodiffusion_paper(problem, params, evaluations)
                                : run_autodiffusion_front(problem, params, evaluations);
}

}  // namespace

std::size_t schedule_index(const SearchSpace& space) {
  const auto& parameters = space.parameters();
  const auto found = std::find_if(parameters.begin(), parameters.end(), [](const Parameter& p) {
    return p.type == ParameterType::schedule;
  });
  return static_cast<std::size_t>(found - parameters.begin());
}

ScheduleCosts schedule_costs(const Parameter& schedule, const AutoDiffusionParams& params) {
  ScheduleCosts costs;
  costs.layers = params.layer_costs;
  if (costs.layers.empty()) costs.layers.assign(schedule.mask.size(), 1.0);
  costs.step = params.step_cost > 0 || !schedule.mask.empty() ? params.step_cost : 1;
  costs.choices = params.choice_costs;
  if (costs.choices.empty()) costs.choices.assign(schedule.choices.size(), 1.0);
  costs.most = params.max_cost;
  return costs;
}

std::vector<std::vector<double>> noise_schedules(const AutoDiffusionParams& params) {
  if (!params.alpha_bars.empty()) return {params.alpha_bars};
  std::vector<std::vector<double>> schedules;
  const bool any = params.noise_schedule == "any";
  if (any || params.noise_schedule == "cosine") schedules.push_back(cosine_alpha_bars());
  if (any || params.noise_schedule == "linear") schedules.push_back(linear_alpha_bars());
  return schedules;
}

template <>
Fields<AutoDiffusionParams> describe() {
  using P = AutoDiffusionParams;
  return Fields<P>()
      .add("mode", &P::mode,
           "front: the trade-off of quality and cost in one search; paper: the two-stage evolution "
           "of the publication, under a budget of kept layers",
           {"front", "paper"})
      .add("layer_costs", &P::layer_costs,
           "what each layer of the mask costs in a step that keeps it, measured or counted; empty: "
           "1 each",
           0, 1e15)
      .add("step_cost", &P::step_cost,
           "what a step costs beside its layers; without a mask, 0 counts as 1", 0, 1e15)
      .add("choice_costs", &P::choice_costs,
           "how often a step with each choice runs the network; empty: once", 0, 1e6)
      .add("max_cost", &P::max_cost,
           "most that a schedule may cost; 0: no limit (paper: as much as the most steps without "
           "drops)",
           0, 1e15)
      .add("cost_front", &P::cost_front,
           "front, with one objective: trade it against the computed cost; false: search the best "
           "value whatever it costs, up to max_cost")
      .add("noise_schedule", &P::noise_schedule,
           "of the model, for log-SNR seeds; any: one seed each", {"any", "cosine", "linear", "none"})
      .add("alpha_bars", &P::alpha_bars,
           "the noise schedule itself, a value per training step, cleanest first; empty: as "
           "noise_schedule says",
           0, 1)
      .add("population", &P::population,
           "points that survive; 0: 8, or for a front as many as its steps, at least 16, or 40 with "
           "a mask (paper: 50)",
           0, 10'000)
      .add("fidelity", &P::fidelity, "samples of each trial; 0: the evaluator's default", 0, 1e15)
      .add("rungs", &P::rungs,
           "front: numbers of samples, increasing; leaders of each go on to the next, such as 500, "
           "2000, 10000",
           1, 1e15)
      .add("kept_share", &P::kept_share, "share of a rung that goes on to the next", 0.01, 1)
      .add("elite_replicates", &P::elite_replicates,
           "front: so many replicates a member of the front is compared on", 1, 1000)
      .add("replicate_share", &P::replicate_share,
           "front: further replicates of the front's members, at most this share of the trials", 0,
           0.9)
      .add("selection_candidates", &P::selection_candidates,
           "leaders of each cost that compete on fresh replicates", 1, 1000)
      .add("selection_replicates", &P::selection_replicates,
           "fresh replicates on which they compete; 0: they do not", 0, 1000)
      .add("report_points", &P::report_points, "costs at which the report compares with uniform", 1,
           1000)
      .add("report_replicates", &P::report_replicates,
           "untouched replicates on which it does; 0: no report", 0, 10'000)
      .add("report_fidelity", &P::report_fidelity,
           "samples of each trial of the report; 0: as in the search", 0, 1e15)
      .add("rounds", &P::rounds, "paper: ranking rounds; 0: until the budget ends", 0, 1e9)
      .add("elites", &P::elites, "paper: parents, the best so far", 1, 10'000)
      .add("mutants", &P::mutants, "paper: mutants of a round", 0, 10'000)
      .add("crossovers", &P::crossovers,
           "paper: crossovers of a round; the rest of the population is random", 0, 10'000)
      .add("mutation_probability", &P::mutation_probability,
           "paper: share of the steps, and of the drops, that mutate", 0, 1)
      .add("max_prune", &P::max_prune,
           "paper: largest share of the layers that a step drops; of few layers it takes a larger "
           "share than the publication's 0.1 to drop one",
           0, 1)
      .add("min_prune", &P::min_prune, "paper: the smallest, from the sixth round on", 0, 1);
}

Optimizer autodiffusion_optimizer() {
  return make_optimizer<AutoDiffusionParams>(
      "autodiffusion", 1,
      "Searches the time steps of a diffusion sampler, and which layers each one drops: quality "
      "against cost.",
      "Li et al., AutoDiffusion, ICCV 2023, arXiv 2309.10438; front mode as specified in "
      "autodiffusion_front.hpp",
      check_autodiffusion, run_autodiffusion);
}

}  // namespace paretod
