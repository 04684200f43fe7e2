// Behind scripts/bench-map: the optimizer `map` and others of the registry, in process, on the
// problems of map_problems.hpp.
//
//   map_bench design N SEED POINTS KIND LINK    one design and fit: R2 per objective on 2,000 new
//                                               points; for KIND see below, LINK identity or auto
//   map_bench best N SEED POINTS                predicted minus true of each objective's maximiser
//   map_bench run OPTIMIZER N SEED TRIALS [NAME=VALUE...]
//                                               hypervolume of what was evaluated / of the true
//                                               front
//   map_bench hypervolume N SEED                the same of points on stdin
//   map_bench grid N SEED STEPS                 the same of a grid
//   map_bench coverage N SEED TRIALS            verified points inside their interval, and all
//   map_bench time N SEED TRIALS                seconds of one processor: fit and front, a
//   preference,
//                                               four points worth verifying; points on the front
//   map_bench points N SEED POINTS              a design, one point per line
//
// N is a number of tasks, or "far" or "four": the specialists in $PARETOD_SPECIALISTS, whose true
// front nobody knows, so that hypervolumes are absolute.
//
// KIND: i-optimal, uniform, or paper.  Hypervolumes are of true accuracies (measured ones reward
// luck) above the floor; exact up to three objectives, else by a million samples, equal ones for
// all.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "optimizers/core/front.hpp"
#include "optimizers/core/rng.hpp"
#include "optimizers/front_solver.hpp"
#include "optimizers/map.hpp"
#include "optimizers/map_design.hpp"
#include "optimizers/map_model.hpp"
#include "optimizers/nsga3.hpp"
#include "optimizers/quadratic_surrogate.hpp"
#include "optimizers/registry.hpp"
#include "tests/bench/map_problems.hpp"
#include "tests/support/direct_evaluations.hpp"

namespace paretod {
namespace {

using Values = std::vector<double>;
/// Of the processor: one thread, on a machine that is shared.
double seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

class Problem {
 public:
  Problem(const std::string& name, std::uint64_t seed)
      : seed_(seed),
        real_(name == "far" || name == "four"),
        handle_(real_ ? map_problem_specialists(name.c_str(), std::getenv("PARETOD_SPECIALISTS"))
                      : map_problem_make(static_cast<unsigned>(std::stoul(name)), seed),
                &map_problem_free) {
    if (!handle_) std::exit(1);
    n_ = map_problem_dimension(handle_.get());
  }

  [[nodiscard]] std::size_t n() const { return n_; }
  [[nodiscard]] bool real() const { return real_; }
  /// What is above the floor, as a share of all that could be; minimised.
  [[nodiscard]] Values shortfall(const Values& accuracies) const {
    const double floor = map_problem_floor(handle_.get());
    const double range = real_ ? 1 - floor : accuracy_range;
    Values y;
    for (const double a : accuracies) y.push_back(1 - (a - floor) / range);
    return y;
  }
  [[nodiscard]] Values truth(const Values& x) const {
    Values y(n_);
    map_problem_truth(handle_.get(), x.data(), y.data());
    return y;
  }
  [[nodiscard]] Values measured(const Values& x) const {
    Values y(n_);
    map_problem_measure(handle_.get(), x.data(), y.data());
    return y;
  }
  [[nodiscard]] SearchProblem search(std::uint64_t trials) const {
    std::vector<Parameter> parameters(n_);
    for (std::size_t i = 0; i < n_; ++i) parameters[i].name = "c" + std::to_string(i);
    SearchProblem problem{SearchSpace::make(std::move(parameters)).value(), {}, seed_, trials};
    for (std::size_t i = 0; i < n_; ++i) {
      problem.objectives.push_back({"acc" + std::to_string(i), Goal::maximize});
    }
    return problem;
  }

 private:
  std::size_t n_ = 0;
  std::uint64_t seed_;
  bool real_;
  std::unique_ptr<void, void (*)(void*)> handle_;
};

// ---- hypervolume -------------------------------------------------------------------------------

double volume_of(const Problem& problem, const std::vector<Values>& accuracies) {
  const std::size_t n = problem.n();
  ParetoArchive archive;
  for (std::size_t i = 0; i < accuracies.size(); ++i) {
    archive.insert(i, problem.shortfall(accuracies[i]));
  }
  const std::vector<Values> front = archive.all_objectives();
  if (n <= 3) return hypervolume(front, Values(n, 1.0));
  // Samples within the box that the front spans, which only cuts off what nobody dominates.
  constexpr int samples = 400'000;
  Rng rng(12345);
  std::size_t inside = 0;
  Values sample(n);
  for (int s = 0; s < samples; ++s) {
    for (double& value : sample) value = rng.uniform();
    for (const Values& y : front) {
      bool covers = true;
      for (std::size_t k = 0; k < n && covers; ++k) covers = y[k] <= sample[k];
      if (!covers) continue;
      ++inside;
      break;
    }
  }
  return static_cast<double>(inside) / samples;
}

/// log(accuracy - floor) is a quadratic, so noise-free points give the models exactly.
std::vector<Values> true_front(const Problem& problem) {
  const SearchProblem search = problem.search(0);
  const MapSpace space(search.space);
  const std::size_t n = problem.n();
  std::vector<std::vector<Observation>> observations(n);
  std::vector<Values> seeds;
  for (const Values& x : i_optimal_design(space, 3 * quadratic_terms(n), {}, 99)) {
    const Values y = problem.truth(space.point(x));
    for (std::size_t k = 0; k < n; ++k) observations[k].push_back({x, y[k], -1});
    seeds.push_back(x);
  }
  SurrogateOptions options;
  options.link = Link::log;
  options.low = accuracy_floor;
  std::vector<QuadraticSurrogate> models;
  for (std::size_t k = 0; k < n; ++k) {
    models.push_back(QuadraticSurrogate::fit(observations[k], options));
  }
  const FrontSolver solver(std::move(models), Values(n, -1.0),
                           {Values(n, -1.0), Values(n, 1.0), false}, seeds);
  auto directions = usual_directions(n);
  if (n >= 4) {
    Rng rng(7);
    for (int i = 0; i < 300; ++i) {
      Values direction(n);
      for (double& d : direction) d = -std::log1p(-rng.uniform());
      directions.push_back(std::move(direction));
    }
  }
  std::vector<Values> front;
  for (const SolverPoint& p : solver.front(directions)) {
    front.push_back(problem.truth(space.point(p.x)));
  }
  return front;
}

void print_volume(const Problem& problem, const std::vector<Values>& points) {
  std::vector<Values> truths;
  for (const Values& x : points) truths.push_back(problem.truth(x));
  const double whole = problem.real() ? 1 : volume_of(problem, true_front(problem));
  std::printf("%.6f\n", volume_of(problem, truths) / whole);
}

/// So many steps from 0 to 1 along every coefficient.
void print_grid(const Problem& problem, std::size_t steps) {
  std::vector<Values> points;
  std::vector<std::size_t> at(problem.n(), 0);
  for (std::size_t d = 0; d < at.size();) {
    Values x;
    for (const std::size_t i : at) x.push_back(static_cast<double>(i) / static_cast<double>(steps));
    points.push_back(std::move(x));
    for (d = 0; d < at.size() && ++at[d] > steps; ++d) at[d] = 0;
  }
  print_volume(problem, points);
}

// ---- runs --------------------------------------------------------------------------------------

ParamValue value_of(const std::string& text) {
  std::int64_t whole = 0;
  double number = 0;
  const char* const end = text.data() + text.size();
  if (std::from_chars(text.data(), end, whole).ptr == end) return whole;
  if (std::from_chars(text.data(), end, number).ptr == end) return number;
  return text;
}

struct Run {
  std::vector<Values> points;
  std::vector<Trial> trials;
};

Run run(const std::string& name, const Problem& problem, std::uint64_t trials,
        const ParamValues& params) {
  Run result;
  for (const Optimizer& optimizer : builtin_optimizers()) {
    if (optimizer.name != name) continue;
    const SearchProblem search = problem.search(trials);
    const Problems problems = optimizer.check(search, params);
    if (!problems.empty()) {
      std::fprintf(stderr, "%s: %s\n", problems[0].pointer.c_str(), problems[0].message.c_str());
      std::exit(1);
    }
    DirectEvaluations evaluations(
        [&](const Point& x) {
          Values y = problem.measured(x);
          for (double& value : y) value = -value;
          result.points.push_back(x);
          Trial trial{result.points.size(), {x}, TrialStatus::ok, y, {}, {}, {}};
          trial.standard_errors.assign(y.size(), -1);
          result.trials.push_back(std::move(trial));
          return y;
        },
        trials, 1);
    try {
      optimizer.run(search, params, evaluations);
    } catch (const BudgetSpent&) {
    }
  }
  return result;
}

// ---- the parts ---------------------------------------------------------------------------------

Design design_of(const MapSpace& space, std::size_t count, const std::string& kind,
                 std::uint64_t seed) {
  if (kind == "i-optimal") return i_optimal_design(space, count, {}, seed);
  if (kind == "paper") return paper_design(space, count, 0, seed);
  Rng rng(seed, 5);
  Design design;
  for (std::size_t i = 0; i < count; ++i) {
    Values x(space.dimension());
    for (double& value : x) value = rng.uniform(-1, 1);
    design.push_back(std::move(x));
  }
  return design;
}

QuadraticSurrogate fitted(const Problem& problem, const MapSpace& space, const Design& design,
                          std::size_t objective, const SurrogateOptions& options) {
  std::vector<Observation> observations;
  for (const Values& x : design) {
    observations.push_back({x, problem.measured(space.point(x))[objective], -1});
  }
  return QuadraticSurrogate::fit(observations, options);
}

void print_fit(const Problem& problem, std::size_t points, const std::string& kind,
               const std::string& link) {
  const SearchProblem search = problem.search(0);
  const MapSpace space(search.space);
  const std::size_t n = problem.n();
  const Design design = design_of(space, points, kind, 1000 + search.seed);
  SurrogateOptions options;
  options.samples = accuracy_examples;
  if (link == "identity") options.link = Link::identity;
  if (link == "paper") {
    options.link = Link::logit;
    options.metric_space = true;
  }
  for (std::size_t k = 0; k < n; ++k) {
    const QuadraticSurrogate model = fitted(problem, space, design, k, options);
    Rng rng(search.seed, 77);
    double error = 0, sum = 0, squares = 0;
    constexpr int count = 2000;
    for (int i = 0; i < count; ++i) {
      Values c(n);
      for (double& value : c) value = rng.uniform();
      const double y = problem.truth(c)[k];
      const double missed = y - model.mean(space.scaled(c));
      error += missed * missed;
      sum += y;
      squares += y * y;
    }
    std::printf("%.6f ", 1 - error / (squares - sum * sum / count));
  }
  std::printf("%zu\n", design_rank(design, false));
}

void print_best(const Problem& problem, std::size_t points) {
  const SearchProblem search = problem.search(0);
  const MapSpace space(search.space);
  std::vector<Trial> trials;
  for (const Values& x : i_optimal_design(space, points, {}, 1000 + search.seed)) {
    Trial trial{trials.size() + 1, {space.point(x)}, TrialStatus::ok, {}, {}, {}, {}};
    for (const double y : problem.measured(trial.candidate.point)) trial.objectives.push_back(-y);
    trial.standard_errors.assign(problem.n(), -1);
    trials.push_back(std::move(trial));
  }
  const auto model = *MapModel::fit(search, {}, trials);
  for (std::size_t k = 0; k < problem.n(); ++k) {
    const ObjectiveModel& objective = model->summary().objectives[k];
    std::printf("%.6f ", objective.best_mean - problem.truth(objective.best)[k]);
  }
  std::printf("\n");
}

/// Verified points as a run would see them: predicted from what was told before.
void print_coverage(const Problem& problem, std::uint64_t trials) {
  const Run all = run("map", problem, trials, {{"tolerance", 0.0}});
  const SearchProblem search = problem.search(trials);
  std::size_t inside = 0, count = 0;
  const std::size_t p = quadratic_terms(problem.n());
  for (std::size_t i = std::max<std::size_t>(p + 3, all.trials.size() * 6 / 10);
       i < all.trials.size(); ++i) {
    const std::vector<Trial> before(all.trials.begin(),
                                    all.trials.begin() + static_cast<std::ptrdiff_t>(i));
    const auto model = *MapModel::fit(search, {}, before);
    const PredictedPoint predicted = model->predict(all.points[i]);
    for (std::size_t k = 0; k < problem.n(); ++k) {
      const double off = -all.trials[i].objectives[k] - predicted.means[k];
      inside += std::abs(off) <= 1.6449 * predicted.deviations[k] ? 1 : 0;
      ++count;
    }
  }
  std::printf("%zu %zu\n", inside, count);
}

void print_times(const Problem& problem, std::uint64_t trials) {
  const Run all = run("sobol", problem, trials, {});
  const SearchProblem search = problem.search(trials);
  double start = seconds();
  const auto model = *MapModel::fit(search, {}, all.trials);
  const double fit = (seconds() - start);
  const std::size_t n = problem.n();
  Rng rng(1);
  double query = 0;
  constexpr int queries = 50;
  for (int i = 0; i < queries; ++i) {
    SurrogateQuery question;
    double sum = 0;
    for (std::size_t k = 0; k < n; ++k) {
      question.weights.push_back(rng.uniform());
      sum += question.weights.back();
    }
    for (double& w : question.weights) w /= sum;
    start = seconds();
    const SurrogateAnswer answer = model->solve(question);
    query += (seconds() - start) / queries;
    if (!std::isfinite(answer.value)) std::exit(1);
  }
  start = seconds();
  (void)model->worth_verifying(4);
  std::printf("%.6f %.6f %.6f %zu\n", fit, query, (seconds() - start), model->front(1000).size());
}

int run_command(const std::vector<std::string>& arguments) {
  const auto number = [&](std::size_t i) { return std::stoull(arguments.at(i)); };
  const std::string& command = arguments.at(0);
  const std::size_t shift = command == "run" ? 1 : 0;
  const Problem problem(arguments.at(1 + shift), number(2 + shift));
  if (command == "design") {
    print_fit(problem, number(3), arguments.at(4), arguments.at(5));
  } else if (command == "best") {
    print_best(problem, number(3));
  } else if (command == "run") {
    ParamValues params;
    for (std::size_t i = 5; i < arguments.size(); ++i) {
      const std::size_t sign = arguments[i].find('=');
      params[arguments[i].substr(0, sign)] = value_of(arguments[i].substr(sign + 1));
    }
    print_volume(problem, run(arguments[1], problem, number(4), params).points);
  } else if (command == "hypervolume") {
    std::vector<Values> points;
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream in(line);
      Values x(problem.n());
      for (double& value : x) in >> value;
      points.push_back(std::move(x));
    }
    print_volume(problem, points);
  } else if (command == "grid") {
    print_grid(problem, number(3));
  } else if (command == "coverage") {
    print_coverage(problem, number(3));
  } else if (command == "time") {
    print_times(problem, number(3));
  } else if (command == "points") {
    const SearchProblem search = problem.search(0);
    const MapSpace space(search.space);
    for (const Values& x : i_optimal_design(space, number(3), {}, search.seed)) {
      for (const double value : space.point(x)) std::printf("%.17g ", value);
      std::printf("\n");
    }
  } else {
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace paretod

int main(int argc, char** argv) {
  return paretod::run_command({argv + 1, argv + argc});
}
