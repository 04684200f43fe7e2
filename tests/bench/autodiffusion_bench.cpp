// Behind scripts/bench-autodiffusion: searches of sampling schedules in process, on the closed-form
// problem (evaluators/builtin/ddim.hpp, linear noise schedule) and on a real denoiser.
//
//   autodiffusion_bench descent STEPS                           the optimum, by coordinate descent
//   autodiffusion_bench steps SEARCH STEPS TRIALS SEEDS         best distances, a seed each
//   autodiffusion_bench front SEARCH LEAST MOST TRIALS SEEDS    hypervolumes of log distance, steps
//   autodiffusion_bench rungs STEPS TARGET SEEDS RUNG...        images until the target is reached
//   autodiffusion_bench digits MODEL SEARCH LEAST MOST MASK TRIALS SEED [THREADS]
//   autodiffusion_bench beats MODEL STEPS VALUE SEED            evaluations to be better, noise 0
//   autodiffusion_bench people MODEL LEAST MOST [THREADS]
//
// `digits` prints a line per cost of the front that was found: cost, steps, search's value, then on
// noise never searched distance, its standard error, the same for held-out references, evaluations
// until it was found, and the schedule.  MASK 1: blocks can be dropped.  `people` prints the same
// of schedules that people use.
//
// SEARCH is "front" (fixed steps: one objective), "paper", "nsga2", or "separate": a search per
// number of steps, which share the trials.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evaluators/builtin/ddim.hpp"
#include "evaluators/diffusion/schedule_scorer.hpp"
#include "optimizers/core/front.hpp"
#include "optimizers/core/optimizer.hpp"
#include "optimizers/core/rng.hpp"
#include "optimizers/registry.hpp"
#include "optimizers/schedule_genome.hpp"
#include "optimizers/schedule_seeds.hpp"
#include "tests/support/direct_evaluations.hpp"

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

SearchProblem problem_of(std::size_t least, std::size_t most, std::size_t objectives,
                         std::uint64_t trials, std::uint64_t seed) {
  Parameter schedule;
  schedule.name = "schedule";
  schedule.type = ParameterType::schedule;
  schedule.high = DdimProblem::time_steps - 1;
  schedule.whole = true;
  schedule.least = least;
  schedule.most = most;
  SearchProblem problem;
  problem.space = SearchSpace::make({schedule}).value();
  problem.objectives = {{"distance"}};
  if (objectives == 2) problem.objectives.push_back({"steps"});
  problem.trials = trials;
  problem.seed = seed;
  return problem;
}

std::vector<int> steps_of(const Point& point) {
  return {point.begin() + 1, point.begin() + 1 + static_cast<std::ptrdiff_t>(point[0])};
}

Report run(const std::string& name, ParamValues params, const SearchProblem& problem,
           Evaluations& evaluations) {
  for (const Optimizer& optimizer : builtin_optimizers()) {
    if (optimizer.name != name) continue;
    for (const Problem& p : optimizer.check(problem, params)) {
      std::fprintf(stderr, "%s: %s\n", p.pointer.c_str(), p.message.c_str());
      std::exit(2);
    }
    try {
      return optimizer.run(problem, params, evaluations);
    } catch (const BudgetSpent&) {
      return {};
    }
  }
  std::exit(2);
}

/// Outcomes are exact: everything goes to the search.
ParamValues exact_params() {
  return {{"selection_replicates", std::int64_t{0}},
          {"report_replicates", std::int64_t{0}},
          {"elite_replicates", std::int64_t{1}}};
}

/// The distance after improving one step at a time until none can be.
double descend(const DdimProblem& ddim, std::vector<int> steps) {
  double best = ddim.distance(steps);
  for (bool better = true; better;) {
    better = false;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const int low = i == 0 ? 0 : steps[i - 1] + 1;
      const int high = i + 1 == steps.size() ? DdimProblem::time_steps - 1 : steps[i + 1] - 1;
      const int before = steps[i];
      int best_step = before;
      for (int t = low; t <= high; ++t) {
        steps[i] = t;
        const double distance = ddim.distance(steps);
        if (distance >= best) continue;
        best = distance;
        best_step = t;
      }
      steps[i] = best_step;
      better = better || best_step != before;
    }
  }
  return best;
}

int descent(std::size_t count) {
  const DdimProblem ddim(NoiseSchedule::linear);
  double best = infinity;
  for (std::uint64_t start = 0; start < 20; ++start) {
    const SearchProblem problem = problem_of(count, count, 1, 0, 0);
    Rng rng(start);
    best = std::min(best, descend(ddim, steps_of(problem.space.sample(rng))));
  }
  std::printf("%.6f\n", best);
  return 0;
}

int steps(const std::string& search, std::size_t count, std::uint64_t trials, std::uint64_t seeds) {
  const DdimProblem ddim(NoiseSchedule::linear);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const SearchProblem problem = problem_of(count, count, 1, trials, seed);
    double best = infinity;
    DirectEvaluations evaluations(
        [&](const Point& point) {
          const double distance = ddim.distance(steps_of(point));
          best = std::min(best, distance);
          return std::vector{distance};
        },
        trials, 1);
    ParamValues params;
    if (search != "nsga2") {
      params = exact_params();
      params["mode"] = search;
    }
    run(search == "nsga2" ? search : "autodiffusion", params, problem, evaluations);
    std::printf("%.6f\n", best);
  }
  return 0;
}

int front(const std::string& search, std::size_t least, std::size_t most, std::uint64_t trials,
          std::uint64_t seeds) {
  const DdimProblem ddim(NoiseSchedule::linear);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    ParetoArchive archive;
    const auto evaluate = [&](const Point& point, bool with_steps) {
      const std::vector<int> taken = steps_of(point);
      const double distance = ddim.distance(taken);
      const std::vector<double> both{std::log(distance), static_cast<double>(taken.size())};
      archive.insert(0, both);
      return with_steps ? std::vector{distance, both[1]} : std::vector{distance};
    };
    if (search == "separate") {
      const std::uint64_t share = trials / (most - least + 1);
      for (std::size_t count = least; count <= most; ++count) {
        const SearchProblem problem = problem_of(count, count, 1, share, seed);
        DirectEvaluations evaluations([&](const Point& p) { return evaluate(p, false); }, share, 1);
        run("autodiffusion", exact_params(), problem, evaluations);
      }
    } else {
      const SearchProblem problem = problem_of(least, most, 2, trials, seed);
      DirectEvaluations evaluations([&](const Point& p) { return evaluate(p, true); }, trials, 1);
      run(search == "nsga2" ? search : "autodiffusion",
          search == "nsga2" ? ParamValues{} : exact_params(), problem, evaluations);
    }
    // A distance of 3 is worse than any schedule in use; one step more than the most.
    std::printf("%.6f\n", hypervolume(archive.all_objectives(),
                                      {std::log(3.0), static_cast<double>(most + 1)}));
  }
  return 0;
}

/// What n samples would have measured: the variance of each component is off by a factor that
/// depends on the noise alone, so that equal replicates are equal noise, and more samples extend
/// fewer.
class SampledVariances {
 public:
  explicit SampledVariances(std::uint64_t seed) : seed_(seed) {}
  const std::vector<double>& at(std::uint64_t replicate, std::uint64_t n) {
    auto& factors = known_[{replicate, n}];
    for (std::uint32_t k = static_cast<std::uint32_t>(factors.size()); k < components; ++k) {
      Rng rng(mix64(seed_, replicate), k);
      double sum = 0, squares = 0;
      for (std::uint64_t i = 0; i < n; ++i) {
        const double x = rng.normal();
        sum += x;
        squares += x * x;
      }
      const auto count = static_cast<double>(n);
      factors.push_back((squares - sum * sum / count) / (count - 1));
    }
    return factors;
  }
  static constexpr std::uint32_t components = DdimProblem::components;

 private:
  const std::uint64_t seed_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<double>> known_;
};

int rungs(std::size_t count, double target, std::uint64_t seeds, std::vector<double> levels) {
  const DdimProblem ddim(NoiseSchedule::linear);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    constexpr std::uint64_t trials = 3000;
    const SearchProblem problem = problem_of(count, count, 1, trials, seed);
    SampledVariances noise(seed);
    struct Reached {};
    std::map<Point, std::uint64_t> sampled;  // images of each schedule so far, on replicate 0
    double images = 0, best = infinity;
    const auto evaluate = [&](const Candidate& candidate) {
      const std::vector<int> taken = steps_of(candidate.point);
      std::uint64_t& before = sampled[candidate.point];
      images += static_cast<double>(candidate.fidelity - before);
      before = candidate.fidelity;
      const double distance =
          ddim.distance(taken, noise.at(candidate.replicate, candidate.fidelity));
      // The leader at the highest rung is what the search would return.
      if (static_cast<double>(candidate.fidelity) == levels.back() && distance < best) {
        best = distance;
        if (ddim.distance(taken) <= target) throw Reached{};
      }
      return std::vector{distance};
    };
    DirectEvaluations evaluations(DirectEvaluations::OfCandidate{evaluate}, trials, 1);
    ParamValues params = exact_params();
    params["rungs"] = levels;
    try {
      run("autodiffusion", params, problem, evaluations);
      images = infinity;
    } catch (const Reached&) {
    }
    std::printf("%.0f\n", images);
  }
  return 0;
}

// ---- a real denoiser
// ---------------------------------------------------------------------------

class Digits {
 public:
  static constexpr const char* weights = "ema-0.995";
  static constexpr std::size_t searched_samples = 2000;
  /// Noise that no search sees.
  static constexpr std::uint64_t fresh_replicate = 9'000'000;
  static constexpr std::uint64_t fresh_replicates = 5;
  static constexpr std::size_t fresh_samples = 5000;

  Digits(const std::string& model, std::size_t threads) : threads_(threads) {
    auto loaded =
        ScheduleScorer::load(model, {.weights = weights, .kernel_distance = false}, simd_kernels());
    if (!loaded) {
      std::fprintf(stderr, "%s\n", loaded.error().text().c_str());
      std::exit(1);
    }
    scorer_.emplace(std::move(*loaded));
  }

  [[nodiscard]] std::size_t blocks() const { return scorer_->model().shape.blocks; }
  [[nodiscard]] const ModelDescription& model() const { return scorer_->model(); }

  ScheduleScore score(const Steps& steps, std::uint64_t replicate, std::size_t samples) {
    ScheduleRequest request;
    for (const Step& step : steps) {
      ScheduleNode node;
      node.time = step.at;
      for (const bool dropped : step.dropped) node.dropped.push_back(dropped ? 1 : 0);
      request.nodes.push_back(std::move(node));
    }
    request.samples = samples;
    request.replicate = replicate;
    return scorer_->score({&request, 1}, threads_, never_).front();
  }

  /// "distance error heldout error" on fresh noise.
  std::string fresh(const Steps& steps) {
    std::vector<double> searched, heldout;
    for (std::uint64_t r = 0; r < fresh_replicates; ++r) {
      const ScheduleScore score = this->score(steps, fresh_replicate + r, fresh_samples);
      searched.push_back(score.distance);
      heldout.push_back(score.heldout);
    }
    const Estimate a = estimate(searched);
    const Estimate b = estimate(heldout);
    char text[120];
    std::snprintf(text, sizeof text, "%.4f %.4f %.4f %.4f", a.mean, a.standard_error, b.mean,
                  b.standard_error);
    return text;
  }

 private:
  const std::size_t threads_;
  std::optional<ScheduleScorer> scorer_;
  const std::atomic<bool> never_ = false;
};

std::string text_of(const Steps& steps) {
  std::string text;
  for (const Step& step : steps) {
    text += (text.empty() ? "" : ",") + std::to_string(static_cast<int>(step.at));
    if (step.dropped.empty()) continue;
    text += ":";
    for (const bool dropped : step.dropped) text += dropped ? '-' : 'x';
  }
  return text;
}

int digits(const std::string& model, const std::string& search, std::size_t least, std::size_t most,
           bool mask, std::uint64_t trials, std::uint64_t seed, std::size_t threads) {
  Digits digits(model, threads);
  const bool one_cost = least == most && !mask;
  SearchProblem problem = problem_of(least, most, one_cost ? 1 : 2, trials, seed);
  if (mask) {
    Parameter schedule = problem.space.parameters()[0];
    for (std::size_t b = 0; b < digits.blocks(); ++b) {
      schedule.mask.push_back("block-" + std::to_string(b));
    }
    problem.space = SearchSpace::make({schedule}).value();
  }
  const ScheduleCoding coding(problem.space, 0);
  ScheduleCosts costs;
  costs.layers.assign(mask ? digits.blocks() : 0, 1.0);
  costs.step = mask ? 0 : static_cast<double>(digits.blocks());
  struct Found {
    double value;
    Steps steps;
    std::uint64_t at;
  };
  std::map<double, Found> best;  // by cost
  std::uint64_t told = 0;
  const auto evaluate = [&](const Candidate& candidate) {
    const Steps taken = coding.decode(candidate.point);
    const std::size_t samples =
        candidate.fidelity > 0 ? candidate.fidelity : Digits::searched_samples;
    const double value = digits.score(taken, candidate.replicate, samples).distance;
    const double cost = costs.of(taken);
    ++told;
    if (candidate.replicate == 0) {
      const auto known = best.find(cost);
      if (known == best.end() || value < known->second.value) {
        best.insert_or_assign(cost, Found{value, taken, told});
      }
    }
    return one_cost ? std::vector{value} : std::vector{value, cost};
  };
  DirectEvaluations evaluations(DirectEvaluations::OfCandidate{evaluate}, trials, 1);
  ParamValues params;
  if (search != "nsga2") params = {{"mode", search}};
  const Report report =
      run(search == "nsga2" ? search : "autodiffusion", params, problem, evaluations);
  // What a search chose on further noise of its own stands for its cost.
  for (const ReportRow& row : report.rows) {
    if (!row.name.starts_with("found")) continue;
    const Steps chosen = coding.decode(row.point);
    Found& found = best.at(costs.of(chosen));
    found.steps = chosen;
  }
  double least_value = infinity;
  for (const auto& [cost, found] : best) {
    if (found.value >= least_value) continue;
    least_value = found.value;
    std::printf("%g %zu %.4f %s %llu %s\n", cost, found.steps.size(), found.value,
                digits.fresh(found.steps).c_str(), static_cast<unsigned long long>(found.at),
                text_of(found.steps).c_str());
  }
  return 0;
}

int beats(const std::string& model, std::size_t count, double value, std::uint64_t seed) {
  Digits digits(model, 1);
  constexpr std::uint64_t trials = 400;
  const SearchProblem problem = problem_of(count, count, 1, trials, seed);
  const ScheduleCoding coding(problem.space, 0);
  std::uint64_t told = 0;
  struct Beaten {};
  const auto evaluate = [&](const Point& point) {
    ++told;
    const double distance =
        digits.score(coding.decode(point), 0, Digits::searched_samples).distance;
    if (distance < value) throw Beaten{};
    return std::vector{distance};
  };
  DirectEvaluations evaluations(evaluate, trials, 1);
  try {
    run("autodiffusion", exact_params(), problem, evaluations);
    std::printf("inf\n");
  } catch (const Beaten&) {
    std::printf("%llu\n", static_cast<unsigned long long>(told));
  }
  return 0;
}

int people(const std::string& model, std::size_t least, std::size_t most, std::size_t threads) {
  Digits digits(model, threads);
  for (std::size_t count = least; count <= most; ++count) {
    const SearchProblem problem = problem_of(count, count, 1, 0, 0);
    for (const ScheduleSeed& seed :
         schedule_seeds(problem.space.parameters()[0], count, {cosine_alpha_bars()})) {
      Steps taken;
      for (const double at : seed.nodes) taken.push_back({at});
      std::printf("%s %zu %.4f %s 0 %s\n", seed.name.c_str(), count,
                  digits.score(taken, 0, Digits::searched_samples).distance,
                  digits.fresh(taken).c_str(), text_of(taken).c_str());
    }
  }
  return 0;
}

}  // namespace
}  // namespace paretod

int main(int argc, char** argv) {
  using namespace paretod;
  const std::string command = argc > 1 ? argv[1] : "";
  const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
  if (command == "descent" && argc == 3) return descent(number(2));
  if (command == "steps" && argc == 6) return steps(argv[2], number(3), number(4), number(5));
  if (command == "front" && argc == 7) {
    return front(argv[2], number(3), number(4), number(5), number(6));
  }
  if (command == "rungs" && argc >= 6) {
    std::vector<double> levels;
    for (int i = 5; i < argc; ++i) levels.push_back(static_cast<double>(number(i)));
    return rungs(number(2), std::strtod(argv[3], nullptr), number(4), levels);
  }
  if (command == "digits" && argc >= 9) {
    return digits(argv[2], argv[3], number(4), number(5), number(6) != 0, number(7), number(8),
                  argc > 9 ? number(9) : 1);
  }
  if (command == "beats" && argc == 6) {
    return beats(argv[2], number(3), std::strtod(argv[4], nullptr), number(5));
  }
  if (command == "people" && argc >= 5) {
    return people(argv[2], number(3), number(4), argc > 5 ? number(5) : 1);
  }
  std::fprintf(stderr, "see the head of autodiffusion_bench.cpp\n");
  return 2;
}
