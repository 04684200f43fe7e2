#include "optimizers/autodiffusion_front.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "optimizers/autodiffusion_final.hpp"
#include "optimizers/schedule_archive.hpp"
#include "optimizers/schedule_seeds.hpp"
#include "optimizers/schedule_variation.hpp"
#include "optimizers/variation.hpp"

namespace paretod {
namespace {

constexpr int most_redraws = 200;
constexpr std::size_t least_breeding = 4;
constexpr std::size_t mates_seen = 3;
/// Numbers of steps for which seeds are evaluated; schedules of other lengths descend from them.
constexpr std::size_t seeded_counts = 5;
/// Of the trials, for schedules that people use.
constexpr std::uint64_t seed_share = 8;
/// Where layers can be dropped, so often a child descends from schedules that drop nothing, and
/// drops nothing: its steps are then judged without what drops do, and full networks at few good
/// steps are hard to beat (research/demo.md, section 3).
constexpr double full_share = 0.35;

class FrontSearch {
 public:
  FrontSearch(const SearchProblem& problem, const AutoDiffusionParams& params,
              Evaluations& evaluations)
      : problem_(problem),
        evaluations_(evaluations),
        params_(params),
        coding_(problem.space, schedule_index(problem.space)),
        costs_(schedule_costs(coding_.parameter(), params)),
        moves_(coding_.parameter(), costs_),
        plan_(autodiffusion_plan(problem, params)),
        archive_(problem, params, coding_, costs_,
                 problem.objectives.size() == 1 && plan_.points > 1) {
    if (problem.space.parameters().size() > 1) {
      others_.emplace(problem.space, VariationRates{.mutation_probability = others_rate()});
    }
    take_in_known();
    plan_seeds();
  }

  Report run() {
    std::string reason;
    try {
      reason = search();
    } catch (const Stagnated&) {
      reason = "stagnation";
    }
    while (evaluations_.in_flight() > 0) receive(evaluations_.next());
    std::vector<Finalist> finalists;
    for (std::size_t e = 0; e < archive_.size(); ++e) {
      const ScheduleEntry& entry = archive_[e];
      if (const auto score = archive_.score_of(entry)) {
        finalists.push_back({entry.point, entry.cost, *score});
      }
    }
    return autodiffusion_finish(problem_, params_, plan_, std::move(finalists),
                                archive_.rungs().back().fidelity, std::move(reason), evaluations_);
  }

 private:
  std::string search() {
    while (true) {
      while (evaluations_.slot_free() && evaluations_.remaining() > reserve()) {
        const std::optional<ScheduleWork> work = next_work();
        if (!work) break;
        const Candidate candidate{archive_[work->entry].point,
                                  archive_.rungs()[work->rung].fidelity,
                                  work->replicate,
                                  {}};
        in_flight_.emplace(evaluations_.submit(candidate), *work);
      }
      if (evaluations_.in_flight() == 0) {
        const bool spent = evaluations_.remaining() <= reserve();
        return spent ? "budget" : "every schedule was tried";
      }
      receive(evaluations_.next());
    }
  }

  /// Trials of the last stage, as far as the front goes by now.
  [[nodiscard]] std::uint64_t reserve() const {
    AutoDiffusionPlan plan = plan_;
    plan.points = std::clamp<std::uint64_t>(archive_.front_size(), 1, plan.points);
    return plan.cost();
  }

  void receive(const Trial& trial) {
    const auto found = in_flight_.find(trial.number);
    const ScheduleWork work = found->second;
    in_flight_.erase(found);
    const bool success = trial.ok() && archive_.tell(work, trial);
    if (work.move) moves_.learn(*work.move, success);
    if (archive_.deterministic()) plan_.be_deterministic();
  }

  std::optional<ScheduleWork> next_work() {
    while (!first_.empty()) {
      Point point = std::move(first_.front());
      first_.pop_front();
      if (tried_.insert(hash_of(point)).second) return ScheduleWork{archive_.add(std::move(point))};
    }
    if (auto probe = archive_.next_probe()) return probe;
    if (auto promotion = archive_.next_promotion()) return promotion;
    if (auto elite = archive_.next_elite()) return elite;
    return next_child();
  }

  // ---- children --------------------------------------------------------------------------------

  std::optional<ScheduleWork> next_child() {
    Rng rng(problem_.seed, archive_.size());
    const ScheduleRung& rung = breeding_rung(rng);
    const bool full = rung.full.population.size() >= 2 && rng.bernoulli(full_share);
    const SchedulePool& pool = full ? rung.full : rung.all;
    for (int draw = 0; draw < most_redraws; ++draw) {
      std::optional<ScheduleMove> move;
      std::size_t parent_entry = 0;
      Point point;
      if (pool.population.size() < 2) {
        point = random_point(rng);
      } else {
        const std::size_t a = parent(pool, rng);
        const std::size_t b = mate(pool, a, rng);
        parent_entry = pool.population[a].trial;
        const ScheduleEntry& first = archive_[parent_entry];
        const ScheduleEntry& second = archive_[pool.population[b].trial];
        ScheduleVariation::Child child = moves_.child(first.steps, second.steps, !full, rng);
        move = child.move;
        point = first.point;
        if (others_) others_->vary_others(coding_.index(), first.point, second.point, point, rng);
        point = coding_.encode(child.steps, std::move(point));
      }
      if (!tried_.insert(hash_of(point)).second) continue;
      return ScheduleWork{archive_.add(std::move(point)), 0, 0, move, parent_entry, full};
    }
    return std::nullopt;
  }

  Point random_point(Rng& rng) const {
    Point point = problem_.space.sample(rng);
    Steps steps = coding_.decode(point);
    fit_to_costs(coding_.parameter(), costs_, steps, rng);
    return coding_.encode(steps, std::move(point));
  }

  /// High rungs know better, low ones have more to choose from.
  const ScheduleRung& breeding_rung(Rng& rng) const {
    const std::deque<ScheduleRung>& rungs = archive_.rungs();
    for (std::size_t r = rungs.size(); r-- > 1;) {
      if (rungs[r].all.population.size() >= least_breeding && rng.bernoulli(0.5)) return rungs[r];
    }
    return rungs.front();
  }

  /// Binary tournament.
  static std::size_t parent(const SchedulePool& pool, Rng& rng) {
    const RankedPopulation& population = pool.population;
    const std::size_t a = rng.below(population.size());
    const std::size_t b = rng.below(population.size());
    if (population.rank(a) != population.rank(b)) {
      return population.rank(a) < population.rank(b) ? a : b;
    }
    return pool.survival.prefers(b, a) ? b : a;
  }

  /// Of a few, the one whose number of steps is most like the first parent's.
  std::size_t mate(const SchedulePool& pool, std::size_t a, Rng& rng) const {
    const RankedPopulation& population = pool.population;
    const auto steps_of = [&](std::size_t m) {
      return static_cast<double>(archive_[population[m].trial].steps.size());
    };
    std::size_t best = (a + 1 + rng.below(population.size() - 1)) % population.size();
    for (std::size_t i = 1; i < mates_seen; ++i) {
      const std::size_t m = (a + 1 + rng.below(population.size() - 1)) % population.size();
      const double closer =
          std::abs(steps_of(best) - steps_of(a)) - std::abs(steps_of(m) - steps_of(a));
      if (closer > 0 || (closer == 0 && population.rank(m) < population.rank(best))) best = m;
    }
    return best;
  }

  // ---- beginning -------------------------------------------------------------------------------

  /// Those that were evaluated as this search would.
  void take_in_known() {
    const std::uint64_t fidelity = archive_.rungs().front().fidelity;
    for (const Trial& trial : problem_.known) {
      if (trial.candidate.replicate != 0 || trial.candidate.fidelity != fidelity) continue;
      if (!tried_.insert(hash_of(trial.candidate.point)).second) continue;
      const std::size_t entry = archive_.add(trial.candidate.point);
      if (trial.ok()) archive_.tell({entry}, trial);
    }
  }

  /// The user's points, then what people use: for the fewest, the most and the numbers of steps
  /// between them, halving the gaps.
  void plan_seeds() {
    first_.assign(problem_.initial.begin(), problem_.initial.end());
    const Parameter& schedule = coding_.parameter();
    std::size_t room = problem_.trials == 0
                           ? std::numeric_limits<std::size_t>::max()
                           : std::max<std::size_t>(problem_.trials / seed_share, 4);
    const auto noise = noise_schedules(params_);
    std::size_t choice = 0;
    for (const std::size_t count : spread_counts(seeded_counts)) {
      for (const ScheduleSeed& seed : schedule_seeds(schedule, count, noise)) {
        if (room == 0) return;
        Steps steps;
        for (const double at : seed.nodes) {
          steps.push_back(
              {at, static_cast<double>(choice), std::vector<bool>(schedule.mask.size())});
        }
        if (!schedule.choices.empty()) choice = (choice + 1) % schedule.choices.size();
        if (!costs_.allows(steps)) continue;
        first_.push_back(coding_.encode(steps, problem_.space.resting()));
        --room;
      }
    }
  }

  [[nodiscard]] std::vector<std::size_t> spread_counts(std::size_t wanted) const {
    const Parameter& schedule = coding_.parameter();
    std::vector<std::size_t> counts{schedule.least};
    const auto add = [&](std::size_t count) {
      if (std::find(counts.begin(), counts.end(), count) == counts.end()) counts.push_back(count);
    };
    add(schedule.most);
    const std::size_t range = schedule.most - schedule.least;
    for (std::size_t parts = 2; counts.size() < std::min(wanted, range + 1); parts *= 2) {
      for (std::size_t i = 1; i < parts; i += 2) {
        if (counts.size() < wanted) add(schedule.least + (range * i + parts / 2) / parts);
      }
    }
    return counts;
  }

  /// A coordinate in expectation, the schedule's counted as one.
  [[nodiscard]] double others_rate() const {
    const std::size_t others = problem_.space.dimension() - problem_.space.width(coding_.index());
    return 1 / static_cast<double>(others + 1);
  }

  const SearchProblem& problem_;
  Evaluations& evaluations_;
  const AutoDiffusionParams& params_;
  const ScheduleCoding coding_;
  const ScheduleCosts costs_;
  ScheduleVariation moves_;
  std::optional<Variation> others_;
  AutoDiffusionPlan plan_;
  ScheduleArchive archive_;
  std::deque<Point> first_;                  ///< points to begin with
  std::unordered_set<std::uint64_t> tried_;  ///< hashes of points; never iterated
  std::map<TrialNumber, ScheduleWork> in_flight_;
};

}  // namespace

Report run_autodiffusion_front(const SearchProblem& problem, const AutoDiffusionParams& params,
                               Evaluations& evaluations) {
  return FrontSearch(problem, params, evaluations).run();
}

}  // namespace paretod
