#include "optimizers/autodiffusion_paper.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "optimizers/autodiffusion_final.hpp"
#include "optimizers/measure.hpp"
#include "optimizers/schedule_seeds.hpp"
#include "optimizers/variation.hpp"

// Defects of the authors' code that are mended here (numbers of research/autodiffusion.md, section
// 2): (1) drops that a step has mutate, too, and can go; (2) the tail that crossover appends is that
// of the longer parent, and no candidate exceeds the budget, the uniform seed included; (3) a
// step's drops stay with it; (4) a child with a step twice is refused; (5) schedules are the same
// in whatever order their steps were drawn; (7) there is no rejector.  Attempts of every kind are
// limited, and a round's candidates are evaluated together: acceptance never depends on values.

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t default_population = 50;
constexpr std::size_t attempts_per_place = 10;
constexpr double seed_mutation = 0.1;
constexpr std::int64_t stage_opens_at_latest = 5;
constexpr double ramp_rounds = 5;
/// Places that real nodes are drawn from.
constexpr std::uint64_t grid = 1001;
constexpr int most_draws = 100;

class PaperSearch {
 public:
  PaperSearch(const SearchProblem& problem, const AutoDiffusionParams& params,
              Evaluations& evaluations)
      : problem_(problem),
        params_(params),
        evaluations_(evaluations),
        coding_(problem.space, schedule_index(problem.space)),
        costs_(schedule_costs(coding_.parameter(), params)),
        size_(static_cast<std::size_t>(params.population > 0 ? params.population
                                                             : default_population)),
        ramp_(params.min_prune, params.max_prune),
        plan_(autodiffusion_plan(problem, params)) {
    const Parameter& schedule = coding_.parameter();
    // The most steps when nothing is dropped, unless the job says otherwise.
    if (costs_.most <= 0) costs_.most = static_cast<double>(schedule.most) * costs_.full_step();
    if (problem.space.parameters().size() > 1) {
      others_.emplace(problem.space,
                      VariationRates{.mutation_probability = params.mutation_probability});
    }
  }

  Report run() {
    std::string reason;
    try {
      reason = search();
    } catch (const Stagnated&) {
      reason = "stagnation";
      while (evaluations_.in_flight() > 0) evaluations_.next();
    }
    std::vector<Finalist> finalists;
    for (const Entry& entry : entries_) {
      if (entry.score < infinity) {
        finalists.push_back({entry.point, costs_.of(coding_.decode(entry.point)), entry.score});
      }
    }
    return autodiffusion_finish(problem_, params_, plan_, std::move(finalists),
                                static_cast<std::uint64_t>(params_.fidelity), std::move(reason),
                                evaluations_);
  }

 private:
  struct Entry {
    Point point;
    double score = infinity;
  };

  std::string search() {
    Point best;
    for (std::int64_t round = 0;; ++round) {
      Rng rng(problem_.seed, static_cast<std::uint64_t>(round));
      std::vector<Point> population = round == 0 ? first_population(rng) : next_population(rng);
      if (population.empty()) return "every schedule was tried";
      evaluate(std::move(population));
      const bool unchanged = round > 0 && !elites_.empty() && entries_[elites_[0]].point == best;
      if (!elites_.empty()) best = entries_[elites_[0]].point;
      ramp_.ranked(round, unchanged);
      if (params_.rounds > 0 && round + 1 >= params_.rounds) return "rounds";
      if (evaluations_.remaining() <= plan_.cost()) return "budget";
      if (elites_.empty()) return "nothing could be evaluated";
    }
  }

  void evaluate(std::vector<Point> population) {
    const std::uint64_t left = evaluations_.remaining();
    const std::uint64_t room = left > plan_.cost() ? left - plan_.cost() : 0;
    if (population.size() > room) population.resize(static_cast<std::size_t>(room));
    std::vector<Candidate> candidates;
    for (Point& point : population) {
      candidates.push_back({std::move(point), static_cast<std::uint64_t>(params_.fidelity), 0, {}});
    }
    for (const Trial& trial : measure(evaluations_, candidates)) {
      // What failed, or violates a constraint, is worse than anything.
      const bool good = trial.ok() && trial.violation() == 0;
      entries_.push_back({trial.candidate.point, good ? trial.objectives[0] : infinity});
      if (good) elites_.push_back(entries_.size() - 1);
    }
    std::stable_sort(elites_.begin(), elites_.end(), [&](std::size_t a, std::size_t b) {
      return entries_[a].score < entries_[b].score;
    });
    const auto kept = static_cast<std::size_t>(params_.elites);
    if (elites_.size() > kept) elites_.resize(kept);
  }

  // ---- populations -----------------------------------------------------------------------------

  /// Whether the schedule is new and allowed; then it counts as tried.
  std::optional<Point> accept(Steps steps, const Point& others) {
    const Parameter& schedule = coding_.parameter();
    if (steps.size() < schedule.least || steps.size() > schedule.most) return std::nullopt;
    if (!costs_.allows(steps)) return std::nullopt;
    std::sort(steps.begin(), steps.end(),
              [](const Step& a, const Step& b) { return a.at < b.at; });
    const bool twice =
        std::adjacent_find(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
          return a.at == b.at;
        }) != steps.end();
    if (twice) return std::nullopt;
    Point point = coding_.encode(steps, others);
    if (!tried_.insert(hash_of(point)).second) return std::nullopt;
    return point;
  }

  /// Adds what `make` makes until `wanted` were accepted, or too many attempts were not.
  void add(std::vector<Point>& population, std::size_t wanted,
           const std::function<std::optional<Point>()>& make) {
    const std::size_t attempts = attempts_per_place * std::max<std::size_t>(wanted, 1);
    std::size_t added = 0;
    for (std::size_t i = 0; i < attempts && added < wanted; ++i) {
      if (population.size() >= size_) return;
      if (auto point = make()) {
        population.push_back(std::move(*point));
        ++added;
      }
    }
  }

  std::vector<Point> first_population(Rng& rng) {
    std::vector<Point> population;
    for (const Point& point : problem_.initial) {
      if (tried_.insert(hash_of(point)).second) population.push_back(point);
    }
    const Parameter& schedule = coding_.parameter();
    const auto count = static_cast<std::size_t>(
        std::clamp(std::floor(costs_.most / costs_.full_step() + 1e-9),
                   static_cast<double>(schedule.least), static_cast<double>(schedule.most)));
    Steps uniform;
    for (const double at : leading_nodes(schedule, count)) {
      uniform.push_back({at, cheapest_choice(), std::vector<bool>(schedule.mask.size())});
    }
    const Point resting = problem_.space.resting();
    if (auto point = accept(uniform, resting)) population.push_back(std::move(*point));
    const std::size_t half = size_ / 2;
    add(population, half > population.size() ? half - population.size() : 0,
        [&] { return random(rng); });
    add(population, size_, [&] {
      return accept(mutated(uniform, seed_mutation, rng), mutated_others(resting, rng));
    });
    return population;
  }

  std::vector<Point> next_population(Rng& rng) {
    std::vector<Point> population;
    add(population, static_cast<std::size_t>(params_.mutants), [&] {
      const Point& elite = any_elite(rng);
      return accept(mutated(coding_.decode(elite), params_.mutation_probability, rng),
                    mutated_others(elite, rng));
    });
    add(population, static_cast<std::size_t>(params_.crossovers), [&] {
      const Point& a = any_elite(rng);
      const Point& b = any_elite(rng);
      Point others = a;
      if (others_) others_->vary_others(coding_.index(), a, b, others, rng);
      return accept(crossed(coding_.decode(a), coding_.decode(b), rng), others);
    });
    add(population, size_, [&] { return random(rng); });
    return population;
  }

  const Point& any_elite(Rng& rng) const {
    return entries_[elites_[rng.below(elites_.size())]].point;
  }

  Point mutated_others(Point point, Rng& rng) const {
    const Point parent = point;
    if (others_) others_->vary_others(coding_.index(), parent, parent, point, rng);
    return point;
  }

  // ---- genomes ---------------------------------------------------------------------------------

  double any_node(Rng& rng) const {
    const Parameter& p = coding_.parameter();
    if (p.whole) return p.low + static_cast<double>(rng.below(static_cast<std::uint64_t>(p.high - p.low) + 1));
    return p.low + (p.high - p.low) * static_cast<double>(rng.below(grid)) / (grid - 1);
  }

  /// Another node than those; one of those if draw after draw fails, as when all are taken.
  double new_node(const std::vector<double>& taken, Rng& rng) const {
    double node = any_node(rng);
    for (int i = 0; i < most_draws && std::find(taken.begin(), taken.end(), node) != taken.end();
         ++i) {
      node = any_node(rng);
    }
    return node;
  }

  double cheapest_choice() const {
    const auto& runs = costs_.choices;
    return static_cast<double>(std::min_element(runs.begin(), runs.end()) - runs.begin());
  }

  std::vector<bool> random_drops(Rng& rng) const {
    const std::size_t layers = coding_.parameter().mask.size();
    const double share = rng.uniform(ramp_.low(), ramp_.high());
    const auto count = static_cast<std::size_t>(share * static_cast<double>(layers));
    std::vector<std::size_t> order(layers);
    for (std::size_t l = 0; l < layers; ++l) order[l] = l;
    rng.shuffle(order);
    std::vector<bool> dropped(layers);
    for (std::size_t i = 0; i < count; ++i) dropped[order[i]] = true;
    return dropped;
  }

  /// The layers that cost most, as many as a step may drop.
  std::vector<bool> most_drops() const {
    const std::size_t layers = coding_.parameter().mask.size();
    std::vector<std::size_t> order(layers);
    for (std::size_t l = 0; l < layers; ++l) order[l] = l;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return costs_.layers[a] > costs_.layers[b];
    });
    std::vector<bool> dropped(layers);
    const auto count = static_cast<std::size_t>(ramp_.high() * static_cast<double>(layers));
    for (std::size_t i = 0; i < count; ++i) dropped[order[i]] = true;
    return dropped;
  }

  std::optional<Point> random(Rng& rng) {
    const Parameter& schedule = coding_.parameter();
    Steps steps;
    std::vector<double> taken;
    double used = 0;
    while (steps.size() < schedule.most) {
      Step step{new_node(taken, rng), 0, {}};
      if (!schedule.choices.empty()) {
        step.choice = static_cast<double>(rng.below(schedule.choices.size()));
      }
      bool fits = false;
      for (int i = 0; i < most_draws && !fits; ++i) {
        step.dropped = random_drops(rng);
        fits = used + costs_.of(step) <= costs_.most * (1 + 1e-12);
      }
      if (!fits) {
        step.choice = cheapest_choice();
        step.dropped = most_drops();
        if (used + costs_.of(step) > costs_.most * (1 + 1e-12)) break;
      }
      used += costs_.of(step);
      taken.push_back(step.at);
      steps.push_back(std::move(step));
    }
    return accept(std::move(steps),
                  others_ ? problem_.space.sample(rng) : problem_.space.resting());
  }

  Steps mutated(Steps steps, double probability, Rng& rng) const {
    const Parameter& schedule = coding_.parameter();
    std::vector<double> taken;
    for (const Step& step : steps) taken.push_back(step.at);
    for (Step& step : steps) {
      if (rng.bernoulli(probability)) {
        step.at = new_node(taken, rng);
        taken.push_back(step.at);
      }
      if (schedule.choices.size() > 1 && rng.bernoulli(probability)) {
        step.choice = static_cast<double>(rng.below(schedule.choices.size()));
      }
      if (ramp_.high() > 0) mutate_drops(step.dropped, probability, rng);
    }
    return steps;
  }

  /// An empty list may be filled.  Of others each entry may move (1), and the list be drawn anew.
  void mutate_drops(std::vector<bool>& dropped, double probability, Rng& rng) const {
    const bool none = std::find(dropped.begin(), dropped.end(), true) == dropped.end();
    if (rng.bernoulli(probability)) {
      dropped = random_drops(rng);
    } else if (!none) {
      const std::vector<bool> before = dropped;
      for (std::size_t l = 0; l < dropped.size(); ++l) {
        if (!before[l] || !rng.bernoulli(probability)) continue;
        const std::size_t to = rng.below(dropped.size());
        if (dropped[to]) continue;
        dropped[l] = false;
        dropped[to] = true;
      }
    }
  }

  /// Steps that both parents have first, then the others in order, each with its drops from either
  /// parent; what the longer has beyond the shorter is appended (2).  The authors' genomes are not
  /// sorted, so what parents share stands at equal positions there.
  static Steps crossed(const Steps& a, const Steps& b, Rng& rng) {
    Steps child, only_a, only_b;
    const auto find = [](const Steps& steps, double at) {
      return std::find_if(steps.begin(), steps.end(),
                          [at](const Step& step) { return step.at == at; });
    };
    for (const Step& step : a) {
      const auto same = find(b, step.at);
      if (same == b.end()) {
        only_a.push_back(step);
      } else {
        child.push_back(rng.bernoulli(0.5) ? step : *same);
      }
    }
    for (const Step& step : b) {
      if (find(a, step.at) == a.end()) only_b.push_back(step);
    }
    const Steps& longer = only_a.size() >= only_b.size() ? only_a : only_b;
    for (std::size_t i = 0; i < longer.size(); ++i) {
      if (i >= std::min(only_a.size(), only_b.size())) {
        child.push_back(longer[i]);
      } else {
        child.push_back(rng.bernoulli(0.5) ? only_a[i] : only_b[i]);
      }
    }
    return child;
  }

  const SearchProblem& problem_;
  const AutoDiffusionParams& params_;
  Evaluations& evaluations_;
  const ScheduleCoding coding_;
  ScheduleCosts costs_;
  const std::size_t size_;
  PruneRamp ramp_;
  AutoDiffusionPlan plan_;
  std::optional<Variation> others_;
  std::vector<Entry> entries_;
  std::vector<std::size_t> elites_;          ///< entries, the best of all rounds first
  std::unordered_set<std::uint64_t> tried_;  ///< hashes of points; never iterated
};

}  // namespace

void PruneRamp::ranked(std::int64_t round, bool best_unchanged) {
  if (high_ == 0) {
    if (best_unchanged || round >= stage_opens_at_latest) high_ = max_ / ramp_rounds;
  } else {
    high_ = std::min(high_ + max_ / ramp_rounds, max_);
  }
  least_open_ = least_open_ || round > stage_opens_at_latest;
}

Report run_autodiffusion_paper(const SearchProblem& problem, const AutoDiffusionParams& params,
                               Evaluations& evaluations) {
  return PaperSearch(problem, params, evaluations).run();
}

}  // namespace paretod
