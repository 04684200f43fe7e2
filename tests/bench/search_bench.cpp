// Behind scripts/bench-search: runs optimizers of the registry, and pagmo's NSGA-II, in process on
// the ZDT and DTLZ problems, and measures hypervolumes of whatever points it is given.
//
//   search_bench run OPTIMIZER PROBLEM OBJECTIVES SEED PARALLEL CHECKPOINT...
//   search_bench hypervolume PROBLEM OBJECTIVES CHECKPOINT...    objective vectors on stdin
//   search_bench value PROBLEM OBJECTIVES                        points on stdin, values out
//   search_bench uneven OPTIMIZER SEED TRIALS SHARE              simulated clock, 64 slots
//   search_bench cost
//
// Hypervolumes are ratios to that of the true front; all points evaluated up to a checkpoint count.
// Up to 5,000 evaluations the reference point is far away, so that a search that is not near the
// front yet shows how far it has come; later it is 1.1 times the nadir point.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <numbers>
#include <pagmo/algorithms/nsga2.hpp>
#include <pagmo/population.hpp>
#include <pagmo/problem.hpp>
#include <queue>
#include <sstream>
#include <string>
#include <vector>

#include "optimizers/core/front.hpp"
#include "optimizers/core/optimizer.hpp"
#include "optimizers/core/rng.hpp"
#include "optimizers/registry.hpp"
#include "tests/support/direct_evaluations.hpp"

namespace paretod {
namespace {

using Values = std::vector<double>;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// ---- problems ----------------------------------------------------------------------------------

struct Benchmark {
  std::string name;
  std::size_t objectives = 2;
  std::size_t dimension = 30;
  double low = 0, high = 1;  ///< of all coordinates but the first
  std::function<Values(const Values&)> value;
  struct Reference {
    Values point;
    double true_volume = 0;
  };
  Reference near, far;
  [[nodiscard]] const Reference& reference_at(std::size_t evaluations) const {
    return evaluations <= 5'000 ? far : near;
  }
};

double mean_tail(const Values& x, std::size_t first) {
  double sum = 0;
  for (std::size_t i = first; i < x.size(); ++i) sum += x[i];
  return sum / static_cast<double>(x.size() - first);
}

Values zdt(const std::string& name, const Values& x) {
  constexpr double pi = std::numbers::pi;
  double f1 = x[0];
  double g = 1 + 9 * mean_tail(x, 1);
  if (name == "zdt4") {
    g = 1 + 10 * static_cast<double>(x.size() - 1);
    for (std::size_t i = 1; i < x.size(); ++i) g += x[i] * x[i] - 10 * std::cos(4 * pi * x[i]);
  }
  if (name == "zdt6") {
    f1 = 1 - std::exp(-4 * x[0]) * std::pow(std::sin(6 * pi * x[0]), 6);
    g = 1 + 9 * std::pow(mean_tail(x, 1), 0.25);
  }
  const double ratio = f1 / g;
  if (name == "zdt2" || name == "zdt6") return {f1, g * (1 - ratio * ratio)};
  if (name == "zdt3") return {f1, g * (1 - std::sqrt(ratio) - ratio * std::sin(10 * pi * f1))};
  return {f1, g * (1 - std::sqrt(ratio))};
}

Values dtlz(const std::string& name, std::size_t m, const Values& x) {
  constexpr double pi = std::numbers::pi;
  Values f(m);
  double g = 0;
  const auto k = static_cast<double>(x.size() - m + 1);
  if (name == "dtlz7") {
    for (std::size_t i = m - 1; i < x.size(); ++i) g += x[i];
    g = 1 + 9 * g / k;
    double h = static_cast<double>(m);
    for (std::size_t i = 0; i + 1 < m; ++i) {
      f[i] = x[i];
      h -= x[i] / (1 + g) * (1 + std::sin(3 * pi * x[i]));
    }
    f[m - 1] = (1 + g) * h;
    return f;
  }
  for (std::size_t i = m - 1; i < x.size(); ++i) {
    const double d = x[i] - 0.5;
    g += name == "dtlz1" ? d * d - std::cos(20 * pi * d) : d * d;
  }
  if (name == "dtlz1") g = 100 * (k + g);
  for (std::size_t i = 0; i < m; ++i) {
    f[i] = name == "dtlz1" ? (1 + g) / 2 : 1 + g;
    for (std::size_t j = 0; j + i + 1 < m; ++j) {
      f[i] *= name == "dtlz1" ? x[j] : std::cos(x[j] * pi / 2);
    }
    if (i > 0) f[i] *= name == "dtlz1" ? 1 - x[m - 1 - i] : std::sin(x[m - 1 - i] * pi / 2);
  }
  return f;
}

double factorial(std::size_t n) {
  return n < 2 ? 1 : static_cast<double>(n) * factorial(n - 1);
}

/// A fine sample of the front, where no formula gives its volume.
std::vector<Values> sampled_front(const Benchmark& benchmark) {
  std::vector<Values> front;
  const std::size_t m = benchmark.objectives;
  const std::size_t steps = m == 2 ? 20'000 : 500;
  for (std::size_t i = 0; i <= steps; ++i) {
    for (std::size_t j = 0; j <= (m == 2 ? 0 : steps); ++j) {
      Values x(benchmark.dimension, 0.0);  // where g is least
      x[0] = static_cast<double>(i) / static_cast<double>(steps);
      if (m > 2) x[1] = static_cast<double>(j) / static_cast<double>(steps);
      front.push_back(benchmark.value(x));
    }
  }
  return front;
}

Benchmark benchmark_named(const std::string& name, std::size_t m) {
  Benchmark b;
  b.name = name;
  b.objectives = m;
  if (name.starts_with("zdt")) {
    b.dimension = name == "zdt4" || name == "zdt6" ? 10 : 30;
    if (name == "zdt4") b.low = -5, b.high = 5;
    b.value = [name](const Values& x) { return zdt(name, x); };
  } else {
    b.dimension = m - 1 + (name == "dtlz1" ? 5 : name == "dtlz2" ? 10 : 20);
    b.value = [name, m](const Values& x) { return dtlz(name, m, x); };
  }
  const auto n = static_cast<double>(m);
  b.near.point = Values(m, name == "dtlz1" ? 0.55 : 1.1);
  b.far.point = Values(m, name == "dtlz1" ? 300 : name == "zdt4" ? 60 : name == "zdt6" ? 9 : 5);
  if (name == "dtlz7") {
    b.near.point[m - 1] = 2.2 * n;
    b.far.point = Values(m, 1.1);
    b.far.point[m - 1] = 8 * n;
  }
  // What the near reference box leaves above the front is the same in every box.
  double above = 0;
  if (name == "dtlz1") {
    above = std::pow(0.5, n) / factorial(m);
  } else if (name == "dtlz2") {
    above = std::pow(std::numbers::pi, n / 2) / std::tgamma(n / 2 + 1) / std::pow(2, n);
  }
  const std::vector<Values> front = above > 0 ? std::vector<Values>{} : sampled_front(b);
  for (Benchmark::Reference* reference : {&b.near, &b.far}) {
    double box = 1;
    for (const double r : reference->point) box *= r;
    reference->true_volume = above > 0 ? box - above : hypervolume(front, reference->point);
  }
  return b;
}

SearchProblem search_problem(const Benchmark& b, std::uint64_t seed, std::uint64_t trials) {
  SearchProblem problem;
  std::vector<Parameter> parameters;
  for (std::size_t i = 0; i < b.dimension; ++i) {
    Parameter x;
    x.name = "x" + std::to_string(i + 1);
    x.low = i == 0 ? 0 : b.low;
    x.high = i == 0 ? 1 : b.high;
    parameters.push_back(std::move(x));
  }
  problem.space = SearchSpace::make(std::move(parameters)).value();
  for (std::size_t k = 0; k < b.objectives; ++k) {
    problem.objectives.push_back({"f" + std::to_string(k + 1), Goal::minimize});
  }
  problem.seed = seed;
  problem.trials = trials;
  return problem;
}

// ---- hypervolume of what was evaluated
// -----------------------------------------------------------

/// Above three objectives exact volumes of thousands of points are out of reach: the share of a
/// fixed sample that is dominated (standard error below 0.004).
double volume_of(const std::vector<Values>& front, const Values& reference) {
  if (reference.size() <= 3) return hypervolume(front, reference);
  constexpr int samples = 20'000;
  Rng rng(12345);
  int dominated = 0;
  double box = 1;
  for (const double r : reference) box *= r;
  for (int s = 0; s < samples; ++s) {
    Values point(reference.size());
    for (std::size_t k = 0; k < point.size(); ++k) point[k] = rng.uniform(0, reference[k]);
    dominated += std::any_of(front.begin(), front.end(), [&](const Values& y) {
      return std::equal(y.begin(), y.end(), point.begin(), std::less_equal<>());
    });
  }
  return box * dominated / samples;
}

std::vector<double> ratios(const std::vector<Values>& evaluated, const Benchmark& b,
                           const std::vector<std::size_t>& checkpoints) {
  std::vector<double> found;
  for (const std::size_t checkpoint : checkpoints) {
    const auto& [reference, true_volume] = b.reference_at(checkpoint);
    ParetoArchive archive;
    for (std::size_t i = 0; i < std::min(checkpoint, evaluated.size()); ++i) {
      // What is outside the reference box adds nothing.
      const Values& y = evaluated[i];
      if (std::equal(y.begin(), y.end(), reference.begin(), std::less<>())) archive.insert(i, y);
    }
    found.push_back(volume_of(archive.all_objectives(), reference) / true_volume);
  }
  return found;
}

void print(const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::printf("%s%.9g", i == 0 ? "" : " ", values[i]);
  }
  std::printf("\n");
}

// ---- evaluations in process
// ------------------------------------------------------------------------

/// 64 slots on a simulated clock: log-normal durations (sigma 1), and one slot ten times slower.
class SlotEvaluations final : public Evaluations {
 public:
  static constexpr std::size_t slots = 64;

  SlotEvaluations(const Benchmark& b, std::uint64_t budget, std::uint64_t seed)
      : benchmark_(b), budget_(budget), rng_(seed, 99) {
    for (std::size_t i = slots; i-- > 0;) free_.push_back(i);
  }

  TrialNumber submit(const Candidate& candidate) override {
    if (remaining() == 0) throw BudgetSpent{};
    queue_.emplace_back(++submitted_, candidate);
    start();
    return submitted_;
  }
  Trial next() override {
    Running ended = running_.top();
    running_.pop();
    now = ended.end;
    free_.push_back(ended.slot);
    start();
    Trial trial;
    trial.number = ended.number;
    trial.candidate = ended.candidate;
    trial.objectives = benchmark_.value(trial.candidate.point);
    trial.standard_errors.assign(trial.objectives.size(), -1);
    evaluated.push_back(trial.objectives);
    times.push_back(now);
    return trial;
  }
  [[nodiscard]] std::size_t in_flight() const override { return queue_.size() + running_.size(); }
  [[nodiscard]] std::uint64_t remaining() const override { return budget_ - submitted_; }
  [[nodiscard]] std::size_t parallelism() const override { return slots; }

  double now = 0;
  double last_start = 0;  ///< after it, slots are idle because the budget ends
  std::vector<Values> evaluated;
  std::vector<double> times;

  [[nodiscard]] double busy_share() const {
    double inside = 0;
    for (const auto& [begin, end] : spans_) inside += std::min(end, last_start) - begin;
    return inside / (static_cast<double>(slots) * last_start);
  }

 private:
  struct Running {
    double end;
    std::size_t slot;
    TrialNumber number;
    Candidate candidate;
    bool operator<(const Running& other) const { return end > other.end; }
  };
  void start() {
    while (!queue_.empty() && !free_.empty()) {
      const std::size_t slot = free_.back();
      free_.pop_back();
      const double duration = std::exp(rng_.normal()) * (slot == 0 ? 10 : 1);
      spans_.emplace_back(now, now + duration);
      last_start = now;
      running_.push({now + duration, slot, queue_.front().first, std::move(queue_.front().second)});
      queue_.pop_front();
    }
  }

  const Benchmark& benchmark_;
  const std::uint64_t budget_;
  Rng rng_;
  std::uint64_t submitted_ = 0;
  std::vector<std::size_t> free_;
  std::deque<std::pair<TrialNumber, Candidate>> queue_;
  std::priority_queue<Running> running_;
  std::vector<std::pair<double, double>> spans_;
};

void run_optimizer(const std::string& name, const SearchProblem& problem,
                   Evaluations& evaluations) {
  // "nsga2:crossover_index=20"
  const std::string plain = name.substr(0, name.find(':'));
  ParamValues params;
  std::istringstream settings(plain == name ? "" : name.substr(name.find(':') + 1));
  for (std::string item; std::getline(settings, item, ',');) {
    const std::string value = item.substr(item.find('=') + 1);
    const bool whole = value.find('.') == std::string::npos;
    params[item.substr(0, item.find('='))] =
        whole ? ParamValue(std::int64_t{std::stoll(value)}) : ParamValue(std::stod(value));
  }
  for (const Optimizer& optimizer : builtin_optimizers()) {
    if (optimizer.name != plain) continue;
    for (const Problem& p : optimizer.check(problem, params)) {
      std::cerr << p.pointer << ": " << p.message << "\n";
      std::exit(2);
    }
    try {
      optimizer.run(problem, params, evaluations);
    } catch (const BudgetSpent&) {
    }
    while (evaluations.in_flight() > 0) evaluations.next();
    return;
  }
  std::cerr << "no optimizer \"" << plain << "\"\n";
  std::exit(2);
}

// ---- pagmo's own NSGA-II
// -----------------------------------------------------------------------------

struct PagmoProblem {
  const Benchmark* benchmark = nullptr;
  std::vector<Values>* evaluated = nullptr;

  [[nodiscard]] pagmo::vector_double fitness(const pagmo::vector_double& x) const {
    Values y = benchmark->value(x);
    evaluated->push_back(y);
    return y;
  }
  [[nodiscard]] std::pair<pagmo::vector_double, pagmo::vector_double> get_bounds() const {
    Values low(benchmark->dimension, benchmark->low);
    Values high(benchmark->dimension, benchmark->high);
    low[0] = 0;
    high[0] = 1;
    return {low, high};
  }
  [[nodiscard]] pagmo::vector_double::size_type get_nobj() const { return benchmark->objectives; }
};

std::vector<Values> run_pagmo(const Benchmark& b, std::uint64_t seed, std::size_t trials) {
  constexpr unsigned population = 100;
  std::vector<Values> evaluated;
  const auto generations = static_cast<unsigned>(trials / population - 1);
  const pagmo::nsga2 algorithm(generations, 0.95, 10., 0.01, 50., static_cast<unsigned>(seed));
  const pagmo::population start(pagmo::problem(PagmoProblem{&b, &evaluated}), population,
                                static_cast<unsigned>(seed));
  static_cast<void>(algorithm.evolve(start));
  return evaluated;
}

// ---- commands
// ----------------------------------------------------------------------------------------

std::vector<Values> read_vectors() {
  std::vector<Values> vectors;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream numbers(line);
    Values values;
    for (double x = 0; numbers >> x;) values.push_back(x);
    if (!values.empty()) vectors.push_back(std::move(values));
  }
  return vectors;
}

void measure_cost() {
  const Benchmark b = [] {
    Benchmark made = benchmark_named("zdt1", 2);
    made.dimension = 10;
    return made;
  }();
  for (const std::size_t parallel : {1, 64}) {
    std::uint64_t told = 0;
    std::map<std::uint64_t, Clock::time_point> at;
    const auto value = [&](const Point& x) {
      if (++told % 1000 == 0) at[told] = Clock::now();
      return b.value(x);
    };
    DirectEvaluations evaluations(value, 101'000, parallel);
    run_optimizer("nsga2", search_problem(b, 1, 101'000), evaluations);
    const auto window = [&](std::uint64_t from, std::uint64_t to) {
      return 1e6 * std::chrono::duration<double>(at[to] - at[from]).count() /
             static_cast<double>(to - from);
    };
    std::printf("ask_us_%zu %.3f %.3f\n", parallel, window(1'000, 3'000), window(99'000, 101'000));
  }
  for (const std::size_t m : {2, 3}) {
    Rng rng(7);
    const auto on_sphere = [&] {
      Values y(m);
      double squares = 0;
      for (double& x : y) {
        x = std::abs(rng.normal());
        squares += x * x;
      }
      for (double& x : y) x /= std::sqrt(squares);
      return y;
    };
    ParetoArchive archive;
    std::vector<Values> points;
    for (std::size_t i = 0; i < 10'000; ++i) {
      points.push_back(on_sphere());
      archive.insert(i, points.back());
    }
    std::vector<Values> more;
    for (int i = 0; i < 2'000; ++i) more.push_back(on_sphere());
    auto start = Clock::now();
    for (std::size_t i = 0; i < more.size(); ++i) archive.insert(i, more[i]);
    std::printf("insert_us_%zu %.3f\n", m, 1e6 * seconds_since(start) / 2'000);
    start = Clock::now();
    const double volume = hypervolume(points, Values(m, 1.1));
    std::printf("hypervolume_ms_%zu %.3f %.6f\n", m, 1e3 * seconds_since(start), volume);
  }
}

/// Time until the front has `share` of the true volume, and how busy the slots were.
void measure_uneven(const std::string& optimizer, std::uint64_t seed, std::uint64_t trials,
                    double share) {
  const Benchmark b = benchmark_named("zdt1", 2);
  SlotEvaluations evaluations(b, trials, seed);
  run_optimizer(optimizer, search_problem(b, seed, trials), evaluations);
  ParetoArchive archive;
  double reached = -1;
  for (std::size_t i = 0; i < evaluations.evaluated.size() && reached < 0; ++i) {
    const Values& y = evaluations.evaluated[i];
    if (!std::equal(y.begin(), y.end(), b.near.point.begin(), std::less<>())) continue;
    if (archive.insert(i, y) &&
        hypervolume(archive.all_objectives(), b.near.point) >= share * b.near.true_volume) {
      reached = evaluations.times[i];
    }
  }
  std::printf("%.6f %.3f\n", evaluations.busy_share(), reached);
}

int run(const std::vector<std::string>& arguments) {
  const auto number = [&](std::size_t i) { return std::stoull(arguments.at(i)); };
  const auto checkpoints_from = [&](std::size_t first) {
    std::vector<std::size_t> checkpoints;
    for (std::size_t i = first; i < arguments.size(); ++i) checkpoints.push_back(number(i));
    return checkpoints;
  };
  const std::string& command = arguments.at(0);
  if (command == "cost") {
    measure_cost();
  } else if (command == "uneven") {
    measure_uneven(arguments.at(1), number(2), number(3), std::stod(arguments.at(4)));
  } else if (command == "hypervolume") {
    print(ratios(read_vectors(), benchmark_named(arguments.at(1), number(2)), checkpoints_from(3)));
  } else if (command == "value") {
    const Benchmark b = benchmark_named(arguments.at(1), number(2));
    for (const Values& x : read_vectors()) print(b.value(x));
  } else if (command == "run") {
    const Benchmark b = benchmark_named(arguments.at(2), number(3));
    const auto checkpoints = checkpoints_from(6);
    const std::size_t trials = *std::max_element(checkpoints.begin(), checkpoints.end());
    if (arguments.at(1) == "pagmo-native") {
      print(ratios(run_pagmo(b, number(4), trials), b, checkpoints));
    } else {
      std::vector<Values> evaluated;
      const auto value = [&](const Point& x) { return evaluated.emplace_back(b.value(x)); };
      DirectEvaluations evaluations(value, trials, number(5));
      run_optimizer(arguments.at(1), search_problem(b, number(4), trials), evaluations);
      print(ratios(evaluated, b, checkpoints));
    }
  } else {
    std::cerr << "unknown command \"" << command << "\"\n";
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace paretod

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "see the head of tests/bench/search_bench.cpp\n";
    return 2;
  }
  return paretod::run({argv + 1, argv + argc});
}
